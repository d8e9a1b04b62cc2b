"""When a model is refused: what every kind of server says, and for how long an absent one counts."""

import pytest

from service.gateway.backend.refusal import ABSENCE_S, Refusal
from service.gateway.backend.replicas import WorkerStatus

HAS, LEFT_OUT, SILENT = WorkerStatus(frozenset({1}), registered=True), WorkerStatus(is_refused=True), None


@pytest.fixture
def refusal() -> Refusal:
    """Two servers that had the model at time 0."""
    made = Refusal()
    assert not made.update({"a": HAS, "b": HAS}, 0)
    return made


def test_a_model_that_every_server_left_out_is_refused_at_once(refusal: Refusal) -> None:
    assert refusal.update({"a": LEFT_OUT, "b": LEFT_OUT}, 1)
    assert Refusal().update({"new": LEFT_OUT}, 0)


def test_after_a_rollout_the_pods_that_are_gone_count_for_five_minutes(refusal: Refusal) -> None:
    new = {"c": LEFT_OUT, "d": LEFT_OUT}

    assert not refusal.update({"a": HAS, "c": LEFT_OUT}, 10)
    assert not refusal.update(new, 20)
    assert not refusal.update(new, 10 + ABSENCE_S - 1)
    assert refusal.update(new, 10 + ABSENCE_S)
    assert refusal.update(new, 11 + ABSENCE_S)


def test_a_silent_server_that_had_the_model_counts_for_five_minutes(refusal: Refusal) -> None:
    assert not refusal.update({"a": SILENT, "b": LEFT_OUT}, 1)
    assert not refusal.update({"a": SILENT, "b": LEFT_OUT}, ABSENCE_S - 1)
    assert refusal.update({"a": SILENT, "b": LEFT_OUT}, ABSENCE_S)
    assert refusal.update({"a": SILENT, "b": LEFT_OUT}, 10 * ABSENCE_S)


def test_a_server_that_never_answered_counts_from_when_it_was_first_listed() -> None:
    refusal = Refusal()

    assert refusal.update({"a": LEFT_OUT}, 0)
    assert not refusal.update({"a": LEFT_OUT, "b": SILENT}, 10)
    assert not refusal.update({"a": LEFT_OUT, "b": SILENT}, 9 + ABSENCE_S)
    assert refusal.update({"a": LEFT_OUT, "b": SILENT}, 10 + ABSENCE_S)


def test_a_silent_server_that_says_that_it_left_the_model_out_counts_no_longer(refusal: Refusal) -> None:
    assert not refusal.update({"a": SILENT, "b": LEFT_OUT}, 1)
    assert refusal.update({"a": LEFT_OUT, "b": LEFT_OUT}, 2)


def test_a_server_that_comes_back_with_the_model_ends_the_refusal(refusal: Refusal) -> None:
    assert refusal.update({"c": LEFT_OUT}, ABSENCE_S)
    assert not refusal.update({"c": LEFT_OUT, "d": HAS}, ABSENCE_S + 1)
    assert not refusal.update({"c": LEFT_OUT}, ABSENCE_S + 2)


@pytest.mark.parametrize("statuses", [{}, {"a": SILENT}])
def test_without_an_answer_nothing_is_refused(statuses: dict[str, None]) -> None:
    assert not Refusal().update(statuses, 0)
