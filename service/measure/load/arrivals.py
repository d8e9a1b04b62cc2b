"""When an open loop sends: times that no answer delays."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Final


def constant(rate: float, _seed: int = 0) -> Iterator[float]:
    """Seconds from the start, `rate` of them a second, evenly."""
    return (place / rate for place in itertools.count())


def poisson(rate: float, seed: int = 0) -> Iterator[float]:
    """Seconds from the start as many independent callers choose them: exponential gaps of mean 1 / rate."""
    draw = random.Random(seed)
    return itertools.accumulate(draw.expovariate(rate) for _ in itertools.count())


ARRIVALS: Final[dict[str, Callable[[float, int], Iterator[float]]]] = {"poisson": poisson, "constant": constant}
