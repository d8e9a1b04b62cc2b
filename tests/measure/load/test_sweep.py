"""Tests of the results of several loads together."""

import pytest

from service.measure.load import sweep
from tests.measure.load.trials import make_trial

# The usual behaviour of a queue: latency rises slowly, then steeply. Throughput follows the load, then stays constant.
SWEEP = [
    make_trial(20, 20, 0.010),
    make_trial(60, 60, 0.012),
    make_trial(80, 80, 0.014),
    make_trial(90, 88, 0.050),
    make_trial(110, 89, 0.300, 5),
]


def test_the_knee_is_where_throughput_over_latency_is_highest() -> None:
    assert sweep.knee(SWEEP) is SWEEP[2]


def test_two_loads_have_no_knee() -> None:
    assert sweep.knee(SWEEP[:2]) is None


@pytest.mark.parametrize(("p95_ms", "index"), [(100, 3), (49, 2), (12.5, 1)])
def test_the_highest_load_within_a_bound(p95_ms: float, index: int) -> None:
    assert sweep.within(SWEEP, p95_ms) is SWEEP[index]


def test_a_load_with_errors_is_not_borne() -> None:
    assert sweep.within(SWEEP[-1:], 1000) is None


def test_no_load_may_be_within_a_bound() -> None:
    assert sweep.within(SWEEP, 1) is None


def test_the_rates_of_a_sweep_go_beyond_the_capacity() -> None:
    loads = sweep.rates(200)
    assert [load.amount for load in loads] == [40, 80, 120, 140, 160, 180, 200, pytest.approx(220)]
    assert {load.kind for load in loads} == {"poisson"}
