"""A circuit opens after failures, for longer each time, and lets one request at a time try again."""

import pytest

from service.gateway.backend.circuit_breaker import FAILURES, FIRST_S, LONGEST_S, SPREAD, CircuitBreaker


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("model at server", clock)


def state(circuit: CircuitBreaker) -> str:
    """The state now; mypy takes the property for a constant."""
    return circuit.state


def opened(circuit: CircuitBreaker) -> None:
    for _ in range(FAILURES):
        circuit.failed()


def test_it_opens_after_so_many_failures_one_after_another_and_not_before(circuit: CircuitBreaker) -> None:
    for _ in range(FAILURES - 1):
        circuit.failed()
    circuit.succeeded()
    for _ in range(FAILURES - 1):
        circuit.failed()
    assert state(circuit) == "closed"

    circuit.failed()
    assert state(circuit) == "open"


def test_it_opens_at_once_where_nobody_is_there(circuit: CircuitBreaker) -> None:
    circuit.failed(at_once=True)

    assert state(circuit) == "open"


def test_it_is_half_open_after_its_time_and_closes_at_the_first_answer(circuit: CircuitBreaker, clock: Clock) -> None:
    opened(circuit)

    clock.now += FIRST_S * 0.99
    assert state(circuit) == "open"
    clock.now += FIRST_S * (SPREAD + 0.02)
    assert state(circuit) == "half_open"
    circuit.succeeded()
    assert state(circuit) == "closed"


def test_each_further_opening_lasts_twice_as_long_up_to_a_bound(circuit: CircuitBreaker, clock: Clock) -> None:
    lasted = []
    circuit.failed(at_once=True)
    for _ in range(8):
        before = clock.now
        clock.now = circuit.rank
        lasted.append(clock.now - before)
        assert state(circuit) == "half_open"
        circuit.failed()
        assert state(circuit) == "open"

    for number, seconds in enumerate(lasted):
        least = min(FIRST_S * 2**number, LONGEST_S)
        assert least <= seconds <= least * (1 + SPREAD) + 1e-6


def test_failures_of_what_was_under_way_do_not_lengthen_an_opening(circuit: CircuitBreaker) -> None:
    opened(circuit)
    until = circuit.rank
    opened(circuit)

    assert circuit.rank == until


def test_half_open_lets_one_request_at_a_time_go(circuit: CircuitBreaker, clock: Clock) -> None:
    opened(circuit)
    assert circuit.rank > clock.now
    clock.now = circuit.rank

    assert circuit.rank == 0
    circuit.in_flight = 1
    assert circuit.rank > 0


def test_opening_and_closing_are_told_in_the_log(circuit: CircuitBreaker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    opened(circuit)
    circuit.succeeded()

    assert "model at server fails: it is left alone for 1." in caplog.text
    assert "model at server answers again" in caplog.text
