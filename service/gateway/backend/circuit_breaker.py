"""Decide from its last results whether a replica gets a model's requests (circuit breaker)."""

import logging
import random
from collections.abc import Callable
from typing import Final, Literal

from service.config.outage import Outage

log = logging.getLogger(__name__)

State = Literal["closed", "open", "half_open"]
STATES: Final[tuple[State, ...]] = ("closed", "open", "half_open")

FAILURES = 3  # consecutive
FIRST_OPEN_S = 1.0  # the first opening lasts so long; each further one without a success in between twice as long
MAX_OPEN_S = 30.0
JITTER = 0.2  # a random share up to this is added, so that gateways that saw the same failure do not retry together


class CircuitBreaker:
    """Closed while requests succeed, open for a time after failures, then half open: one request at a time is tried."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        """Name the circuit breaker for the log; `clock` returns seconds."""
        self.in_flight = 0
        self._name = name
        self._clock = clock
        self._failures = 0
        self._openings = 0
        self._outage = Outage(log, clock=clock)
        self._until = 0.0

    @property
    def state(self) -> State:
        """The current state."""
        if not self._openings:
            return "closed"
        return "open" if self._clock() < self._until else "half_open"

    @property
    def rank(self) -> float:
        """0 if a request may be sent, else the time at which the circuit becomes half open; lower is better."""
        usable = self.state == "closed" or (self.state == "half_open" and not self.in_flight)
        return 0.0 if usable else self._until

    def succeeded(self) -> None:
        """Record a success."""
        if self._openings:
            self._outage.end(f"{self._name}: circuit breaker closed")
        self._failures = self._openings = 0

    def failed(self, *, immediately: bool = False) -> None:
        """Record a failure; `immediately` opens the circuit without waiting for further failures."""
        self._failures += 1
        trips = immediately or self._openings or self._failures >= FAILURES
        if not trips or self.state == "open":
            return
        seconds = min(FIRST_OPEN_S * 2**self._openings, MAX_OPEN_S) * random.uniform(1, 1 + JITTER)
        self._openings += 1
        self._until = self._clock() + seconds
        self._outage.begin(f"{self._name}: circuit breaker open for {seconds:.1f} s")
