"""Tests of the figures of an overload."""

import pytest

from benchmarks.stress import overload
from benchmarks.stress.overload import Peak, figures_of
from service.measure.load.generator import LOST, OK, Sample
from service.measure.load.summary import Window

WINDOW = Window(10.0, 12.0)
PEAK = Peak(100.0, generator=0.0)


def sample(outcome: str, took_s: float) -> Sample:
    return Sample(10.0, 10.0, 10.0 + took_s, outcome, 1, "")


def test_an_answer_after_its_deadline_is_no_good_one_and_still_an_accepted_one() -> None:
    samples = [sample(OK, 0.5)] * 150 + [sample(OK, 1.5)] * 30 + [sample("504 deadline_exceeded", 1.01)] * 20

    found = figures_of(samples, WINDOW, PEAK, generator_share=0.0, deadline_s=1)

    assert found["goodput / peak"] == pytest.approx(0.75)
    assert found["accepted and late"] == pytest.approx(0.25)
    assert found["accepted p99, ms"] == pytest.approx(1500)


def test_refusals_and_lost_connections_are_told_apart_from_what_was_let_in() -> None:
    samples = [sample(OK, 0.5)] * 150 + [sample("503 overloaded", 0.02)] * 300 + [sample(LOST, 0.1)] * 3

    found = figures_of(samples, WINDOW, PEAK, generator_share=0.0, deadline_s=1)

    assert found["rejection p99, ms"] == pytest.approx(20)
    assert found["accepted and late"] == 0
    assert found["without an answer"] == 3
    assert found["answered 503 overloaded"] == 300


def test_a_refusal_by_a_callers_limit_is_one_too() -> None:
    assert "429 rate_limited".startswith(overload.REJECTED)


def test_what_the_generator_took_of_the_cores_is_no_loss_of_the_services() -> None:
    found = figures_of([sample(OK, 0.5)] * 160, WINDOW, Peak(100.0, generator=0.1), generator_share=0.28, deadline_s=1)

    assert found["goodput / peak"] == pytest.approx(0.8)
    assert found["goodput / peak, of the cores that the generator left"] == pytest.approx(1.0)


def test_what_is_answered_in_the_window_counts_whenever_it_was_due() -> None:
    before, after = Sample(9.8, 9.8, 10.2, OK, 1, ""), Sample(11.8, 11.8, 12.2, OK, 1, "")

    found = figures_of([before] * 120 + [after] * 50, WINDOW, PEAK, generator_share=0.0, deadline_s=1)

    assert found["goodput / peak"] == pytest.approx(0.6)
    assert found["answered ok"] == 50
