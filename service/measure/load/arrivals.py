"""Arrival processes: the times at which an open loop sends, independent of the replies."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Final


def constant(rate: float, _seed: int = 0) -> Iterator[float]:
    """Return evenly spaced send times in seconds from the start, at `rate` requests per second."""
    return (index / rate for index in itertools.count())


def poisson(rate: float, seed: int = 0) -> Iterator[float]:
    """Return the send times of many independent callers, in seconds: exponential gaps with mean 1 / `rate`."""
    generator = random.Random(seed)
    return itertools.accumulate(generator.expovariate(rate) for _ in itertools.count())


ARRIVALS: Final[dict[str, Callable[[float, int], Iterator[float]]]] = {"poisson": poisson, "constant": constant}
