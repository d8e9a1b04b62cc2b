"""A circuit breaker opens after failures, for longer each time, and then lets one request at a time through."""

import pytest

from service.gateway.backend.circuit_breaker import FAILURES, FIRST_OPEN_S, JITTER, MAX_OPEN_S, CircuitBreaker


class Clock:
    """A clock that is set by hand."""

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
    """Return the current state; mypy takes the property for a constant."""
    return circuit.state


def open_circuit(circuit: CircuitBreaker) -> None:
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
    circuit.failed(immediately=True)

    assert state(circuit) == "open"


def test_it_is_half_open_after_its_time_and_closes_at_the_first_answer(circuit: CircuitBreaker, clock: Clock) -> None:
    open_circuit(circuit)

    clock.now += FIRST_OPEN_S * 0.99
    assert state(circuit) == "open"
    clock.now += FIRST_OPEN_S * (JITTER + 0.02)
    assert state(circuit) == "half_open"
    circuit.succeeded()
    assert state(circuit) == "closed"


def test_each_further_opening_lasts_twice_as_long_up_to_a_bound(circuit: CircuitBreaker, clock: Clock) -> None:
    durations = []
    circuit.failed(immediately=True)
    for _ in range(8):
        before = clock.now
        clock.now = circuit.rank
        durations.append(clock.now - before)
        assert state(circuit) == "half_open"
        circuit.failed()
        assert state(circuit) == "open"

    for number, seconds in enumerate(durations):
        shortest = min(FIRST_OPEN_S * 2**number, MAX_OPEN_S)
        assert shortest <= seconds <= shortest * (1 + JITTER) + 1e-6


def test_failures_of_what_was_under_way_do_not_lengthen_an_opening(circuit: CircuitBreaker) -> None:
    open_circuit(circuit)
    until = circuit.rank
    open_circuit(circuit)

    assert circuit.rank == until


def test_half_open_lets_one_request_at_a_time_go(circuit: CircuitBreaker, clock: Clock) -> None:
    open_circuit(circuit)
    assert circuit.rank > clock.now
    clock.now = circuit.rank

    assert circuit.rank == 0
    circuit.in_flight = 1
    assert circuit.rank > 0


def test_opening_and_closing_are_told_in_the_log(circuit: CircuitBreaker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    open_circuit(circuit)
    circuit.succeeded()

    assert "model at server: circuit breaker open for 1." in caplog.text
    assert "model at server: circuit breaker closed" in caplog.text
