"""The capacity of a simulated worker is that which `resnest-service capacity` would report."""

import pytest

from tests.cluster import capacity, shipped


def test_a_simulated_worker_has_the_images_in_flight_of_the_same_worker_in_another_simulation() -> None:
    rate = 0.7 * shipped.CPU.capacity
    times = capacity.times(shipped.CPU, rate)

    assert rate * sum(times) / len(times) == pytest.approx(2.2, rel=0.1)  # tests/measure/capacity/test_sizing.py


def test_a_tighter_bound_of_the_latency_leaves_a_lower_rate() -> None:
    tight, loose = (capacity.measured(shipped.CPU, p95_s, gateway_core_s=0.0039) for p95_s in (0.2, 0.5))

    assert tight.images_per_s < loose.images_per_s <= shipped.CPU.capacity
    assert tight.in_flight < loose.in_flight


def test_a_bound_that_no_load_keeps_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"at most 0\.001 s"):
        capacity.measured(shipped.CPU, p95_s=0.001, gateway_core_s=0.0039)
