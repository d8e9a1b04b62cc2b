"""Tests of the arrival processes."""

from itertools import islice, pairwise

import pytest

from service.measure.load.arrivals import ARRIVALS, constant, poisson


def test_constant_arrivals_are_even() -> None:
    assert list(islice(constant(4.0), 5)) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_poisson_arrivals_have_the_rate_and_the_spread_of_independent_callers() -> None:
    times = list(islice(poisson(50.0, seed=1), 20_000))
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1 / 50, rel=0.03)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.05)  # in an exponential distribution they are equal


@pytest.mark.parametrize("kind", sorted(ARRIVALS))
def test_arrivals_are_the_same_for_the_same_seed(kind: str) -> None:
    first, second = (list(islice(ARRIVALS[kind](10.0, 7), 50)) for _ in range(2))
    assert first == second
    assert first == sorted(first)


def test_another_seed_sends_at_other_moments() -> None:
    assert list(islice(poisson(10.0, 1), 5)) != list(islice(poisson(10.0, 2), 5))
