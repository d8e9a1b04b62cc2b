"""One simulated server agrees with what queueing theory says of it."""

import pytest

from deploy.planning import one_server
from deploy.planning.server_kinds import ServerKind

LONE = ServerKind("lone", "made", 0.0, 0.01, 1, 0.05, 10, 1)
BATCHES = ServerKind("batches", "made", 0.002, 0.00025, 32, 0.25, 60, 2)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_without_batches_images_wait_as_in_a_queue_with_constant_service(share: float) -> None:
    """M/D/1: the mean number in the system is the load plus load squared over 2 (1 - load)."""
    state = one_server.simulate(LONE, share * LONE.capacity, images=60_000)

    assert state.in_flight == pytest.approx(share + share**2 / (2 * (1 - share)), rel=0.05)
    assert state.busy == pytest.approx(share, rel=0.02)


def test_with_batches_a_server_is_busy_long_before_its_capacity_is_used() -> None:
    half = one_server.at(BATCHES, 0.5)

    assert half.busy > 0.9
    assert one_server.at(BATCHES, 0.9).in_flight > 2 * half.in_flight


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.35, 0.95, 1.0])
def test_between_the_simulated_loads_the_state_grows_with_the_load(share: float) -> None:
    state, more = one_server.at(BATCHES, share), one_server.at(BATCHES, min(1.0, share + 0.05))

    assert 0 <= state.in_flight <= more.in_flight
    assert 0 <= state.busy <= more.busy <= 1
