"""Alternatives, and how to measure them: what the comparisons with and without TorchServe share."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

IN_FLIGHT = 16
START_S = 180.0  # five workers import torch for the first time, beside other work

Send = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Alternative:
    """One alternative: its name, and a function that measures it for a number of seconds and returns a figure."""

    name: str
    measure: Callable[[float], Awaitable[float]]


@dataclass
class Choice:
    """Alternatives for one thing. The first is the one that the product uses. `unit` is the unit of the figures."""

    what: str
    unit: str
    alternatives: list[Alternative]
    found: dict[str, list[float]] = field(default_factory=dict)

    async def repeat(self, seconds: float, *, backwards: bool) -> None:
        """Measure each alternative once."""
        for alternative in reversed(self.alternatives) if backwards else self.alternatives:
            self.found.setdefault(alternative.name, []).append(await alternative.measure(seconds))

    def rows(self) -> list[list[str]]:
        """Return the median figure of each alternative, and least, median and most of its ratio to the first."""
        first = self.found[self.alternatives[0].name]
        return [
            [self.what, alternative.name, f"{statistics.median(self.found[alternative.name]):.4g}", self.unit, *ratios]
            for alternative in self.alternatives
            for ratios in [spread(self.found[alternative.name], first)]
        ]


def spread(figures: Sequence[float], first: Sequence[float]) -> list[str]:
    """Return least, median and most of the ratios within each repeat."""
    ratios = [one / other for one, other in zip(figures, first, strict=True)]
    return [f"{each:.2f}" for each in (min(ratios), statistics.median(ratios), max(ratios))]


async def rate(send: Send, seconds: float, in_flight: int = IN_FLIGHT) -> float:
    """Return exchanges per second with `in_flight` at a time. The first tenth of the time is warm-up."""
    done, counting = 0, False

    async def send_repeatedly(until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await send()
            done += counting

    begun = time.perf_counter()
    tasks = [asyncio.create_task(send_repeatedly(begun + seconds)) for _ in range(in_flight)]
    await asyncio.sleep(seconds / 10)
    counting, begun = True, time.perf_counter()
    await asyncio.gather(*tasks)
    return done / (time.perf_counter() - begun)


async def lone_ms(send: Send, seconds: float) -> float:
    """Return the median milliseconds of an exchange with no other in flight."""
    taken, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        await send()
        taken.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(taken)


async def wait_until_answering(send: Send) -> None:
    """Repeat `send` until it succeeds. Raises `TimeoutError` after `START_S`."""
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(Exception):
                await send()
                return
            await asyncio.sleep(0.05)
