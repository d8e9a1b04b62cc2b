"""Whether a model's requests may go to one replica: what it did with the last ones decides."""

import logging
import random
from collections.abc import Callable
from typing import Final, Literal

log = logging.getLogger(__name__)

State = Literal["closed", "open", "half_open"]
STATES: Final[tuple[State, ...]] = ("closed", "open", "half_open")

FAILURES = 3  # one after another
FIRST_S = 1.0  # the first opening lasts so long, each further one without a success between twice as long
LONGEST_S = 30.0
SPREAD = 0.2  # of a time, at most and by chance, more: gateways that saw the same failure do not come back together


class CircuitBreaker:
    """Closed while requests succeed, open for a time after failures, then half open: one request at a time tries."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        """`name` says in the log what fails; `clock` tells seconds."""
        self.in_flight = 0
        self._name = name
        self._clock = clock
        self._failures = 0
        self._openings = 0
        self._until = 0.0

    @property
    def state(self) -> State:
        """The state now."""
        if not self._openings:
            return "closed"
        return "open" if self._clock() < self._until else "half_open"

    @property
    def rank(self) -> float:
        """0 where a request may go, else when the circuit opened for, so that the lowest is the next best."""
        usable = self.state == "closed" or (self.state == "half_open" and not self.in_flight)
        return 0.0 if usable else self._until

    def succeeded(self) -> None:
        """An answer came."""
        if self._openings:
            log.info("%s answers again", self._name)
        self._failures = self._openings = 0

    def failed(self, *, at_once: bool = False) -> None:
        """No answer came, or nonsense; `at_once` where a second one need not be waited for."""
        self._failures += 1
        enough = at_once or self._openings or self._failures >= FAILURES
        if not enough or self.state == "open":
            return
        seconds = min(FIRST_S * 2**self._openings, LONGEST_S) * random.uniform(1, 1 + SPREAD)
        self._openings += 1
        self._until = self._clock() + seconds
        log.warning("%s fails: it is left alone for %.1f s", self._name, seconds)
