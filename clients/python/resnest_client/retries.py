"""When to repeat a request, and when to give up."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from resnest_client.problems import ClientError, NoAnswerError, ProblemError

REPEATED: Final = frozenset({408, 429, 500, 502, 503, 504})
LASTING: Final = frozenset({"model_refused"})  # no repetition helps before an operator repairs the model


def _below(limit: float) -> float:
    return random.uniform(0, limit)


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is sent, and how long to wait in between.

    To repeat a request is safe: it only reads, and the service keeps nothing. It is sent at most `attempts` times.
    The wait is what `Retry-After` says, plus a random part of the backoff, so that callers that were rejected
    together do not return together. The backoff is `backoff_s` seconds, doubled with each attempt, up to
    `max_backoff_s`. A `Retry-After` of more than `max_wait_s` seconds ends the attempts. `jitter` returns a number
    between 0 and its argument.
    """

    attempts: int = 4
    backoff_s: float = 0.25
    max_backoff_s: float = 8.0
    max_wait_s: float = 30.0
    jitter: Callable[[float], float] = _below

    def wait_s(self, attempt: int, error: ClientError) -> float | None:
        """Return the seconds to wait after the failed `attempt`, from 1. None if the request is not to be repeated."""
        if attempt >= self.attempts or not _may_pass(error):
            return None
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, ProblemError) else 0.0
        if asked_s > self.max_wait_s:
            return None
        return asked_s + self.jitter(min(self.backoff_s * 2 ** (attempt - 1), self.max_backoff_s))


class Deadline:
    """The time until which a call must be answered, all its attempts together; none if `timeout_s` is None."""

    def __init__(self, timeout_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if timeout_s is None else clock() + timeout_s

    def left_s(self) -> float | None:
        """Return the seconds that are left, at least a millisecond. None without a deadline."""
        return None if self._end is None else max(self._end - self._clock(), 0.001)

    def allows(self, wait_s: float) -> bool:
        """Return whether time is left after a wait of so many seconds."""
        return self._end is None or self._clock() + wait_s < self._end


def _may_pass(error: ClientError) -> bool:
    if isinstance(error, ProblemError):
        return error.status in REPEATED and error.code not in LASTING
    return isinstance(error, NoAnswerError) and not error.is_late
