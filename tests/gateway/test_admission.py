"""Who is let in."""

import pytest
from prometheus_client import CollectorRegistry, Gauge

from service.errors import Overloaded
from service.gateway.admission import Admission, Memory


def gauge() -> Gauge:
    return Gauge("taken", "places", ["model"], registry=CollectorRegistry())


def value(taken: Gauge, model: str) -> float:
    (found,) = [
        sample.value for family in taken.collect() for sample in family.samples if sample.labels["model"] == model
    ]
    return float(found)


def test_the_last_place_is_given_and_no_more() -> None:
    admission = Admission(3, gauge())

    with admission.enter(["a"], 2), admission.enter(["a"], 1), pytest.raises(Overloaded) as refused:
        admission.enter(["a"], 1).__enter__()

    assert (refused.value.limit, refused.value.actual) == (3, 4)


def test_places_are_given_back_also_after_an_error() -> None:
    taken = gauge()
    admission = Admission(1, taken)

    with pytest.raises(KeyError), admission.enter(["a"], 1):
        raise KeyError
    with admission.enter(["a"], 1):
        assert value(taken, "a") == 1

    assert value(taken, "a") == 0


def test_a_request_for_two_models_is_let_in_to_both_or_none() -> None:
    taken = gauge()
    admission = Admission(1, taken)

    with admission.enter(["b"], 1):
        with pytest.raises(Overloaded), admission.enter(["a", "b"], 1):
            pass
        with admission.enter(["a"], 1):
            assert value(taken, "a") == 1


def test_a_model_that_is_full_leaves_the_others_alone() -> None:
    admission = Admission(1, gauge())

    with admission.enter(["a"], 1), admission.enter(["b"], 1), pytest.raises(Overloaded):
        admission.check(["a"])


def test_a_check_takes_no_place() -> None:
    admission = Admission(1, gauge())

    admission.check(["a"])
    admission.check(["a"])
    with admission.enter(["a"], 1):
        pass


def test_memory_is_held_up_to_the_limit_exactly_and_given_back() -> None:
    memory = Memory(10)

    with memory.reserve() as one, memory.reserve() as other:
        one.grow(4)
        other.grow(6)
        with pytest.raises(Overloaded):
            one.grow(1)
    with memory.reserve() as again:
        again.grow(10)

    assert memory.held == 0
