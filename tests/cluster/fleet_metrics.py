"""What autoscalers can know of a simulated service: the values of the last scrape."""

import math
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from service.measure.capacity.component import IN_FLIGHT, OFFERED
from tests.cluster.plant import Plant

RATE_WINDOW_S: Final = 60.0  # of the adapter's rule for the images that are offered
IDLE_CORES: Final = 0.02


class Scrape(NamedTuple):
    """A scrape: its time, the images in flight, and the images offered since the start."""

    at: float
    in_flight: int
    offered: int


class FleetMetrics:
    """Scrapes a plant every `interval_s` seconds."""

    def __init__(self, plant: Plant, interval_s: float, gateway_core_s: float) -> None:
        self._lost: dict[str, float] = {}
        self._plant = plant
        self._interval_s = interval_s
        self._gateway_core_s = gateway_core_s
        self._scrapes = deque([Scrape(0.0, 0, 0)], maxlen=1 + round(RATE_WINDOW_S / interval_s))

    def advance(self, now: float) -> None:
        """Advance the plant to a time, with a scrape whenever one is due."""
        while (due := self._scrapes[-1].at + self._interval_s) <= now:
            self._plant.advance(due)
            self._scrapes.append(Scrape(due, self._plant.in_flight, self._plant.counts.offered))
        self._plant.advance(now)

    def lose(self, names: Iterable[str], since_s: float) -> None:
        """Have no value for these metrics from a time on, as when a rule of the adapter finds no series."""
        self._lost |= dict.fromkeys(names, since_s)

    def external(self, name: str) -> float | None:
        """Return the value of an external metric; None if there is none."""
        if self._scrapes[-1].at >= self._lost.get(name, math.inf):
            return None
        return {IN_FLIGHT: float(self._scrapes[-1].in_flight), OFFERED: self._offered_per_s(0)}.get(name)

    def gateway_cores(self, gateways: int) -> float:
        """Return the cores that each gateway used between the last two scrapes."""
        return IDLE_CORES + self._offered_per_s(-2) * self._gateway_core_s / max(1, gateways)

    def _offered_per_s(self, since: int) -> float:
        last, first = self._scrapes[-1], self._scrapes[since if len(self._scrapes) > 1 else 0]
        return (last.offered - first.offered) / (last.at - first.at) if last.at > first.at else 0.0
