"""Scaling policies: how many servers each wants, from what an autoscaler can see."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deploy.planning import one_server
from deploy.planning.day_shapes import DAY_S, Shape
from deploy.planning.server_kinds import ServerKind
from service.measure.capacity.sizing import PLANNED_SHARE

UTILIZATION: Final = 0.6  # the target of an autoscaler that scales on the busy share of GPUs
AHEAD_S: Final = 1800.0  # of a schedule
SLACK: Final = 0.1  # Kubernetes changes nothing while the ratio is within this


@dataclass(frozen=True)
class Seen:
    """What an autoscaler sees: the second of the day, servers, images in flight and offered a second, busy share."""

    second: float
    servers: int
    in_flight: float
    offered: float
    busy: float


@dataclass(frozen=True)
class Fleet:
    """Servers of a kind for a peak of images a second. `shape` is that of the day before, for a schedule."""

    kind: ServerKind
    peak: float
    shape: Shape

    @property
    def planned(self) -> float:
        """Images a second for which one server is planned."""
        return PLANNED_SHARE * self.kind.capacity

    @property
    def target(self) -> float:
        """Images in flight for which one server is planned."""
        return max(1.0, one_server.at(self.kind, PLANNED_SHARE).in_flight)

    def needed(self, rate: float) -> int:
        """Return the servers for a rate of images a second."""
        return max(1, math.ceil(rate / self.planned))


Policy = Callable[[Fleet, Seen], int]


def fixed(fleet: Fleet, _seen: Seen) -> int:
    """Return the servers for the peak, always."""
    return fleet.needed(fleet.peak)


def in_flight(fleet: Fleet, seen: Seen) -> int:
    """Return the servers for the images in flight: deploy/kubernetes/base."""
    return _by(seen.in_flight / fleet.target, seen.servers)


def offered(fleet: Fleet, seen: Seen) -> int:
    """Return the servers for the offered images, with rejected ones."""
    return _by(seen.offered / fleet.planned, seen.servers)


def both(fleet: Fleet, seen: Seen) -> int:
    """Return the larger number of the two signals: what `resnest-service capacity` writes."""
    return max(in_flight(fleet, seen), offered(fleet, seen))


def utilization(_fleet: Fleet, seen: Seen) -> int:
    """Return the servers that would be busy for `UTILIZATION` of the time, if that were a measure of work."""
    return _by(seen.servers * seen.busy / UTILIZATION, seen.servers)


def scheduled(fleet: Fleet, seen: Seen) -> int:
    """Return the larger number of both signals and of what the day before needed half an hour later."""
    ahead = max(fleet.shape((seen.second + part * AHEAD_S) % DAY_S) for part in (0, 0.5, 1))
    return max(both(fleet, seen), fleet.needed(fleet.peak * ahead))


POLICIES: Final[dict[str, Policy]] = {
    "fixed, for the peak": fixed,
    "GPU utilization 60 %": utilization,
    "images in flight": in_flight,
    "offered images": offered,
    "both": both,
    "both and a schedule": scheduled,
}


def _by(wanted: float, servers: int) -> int:
    """Return the servers by Kubernetes' rule: none is added or removed while the ratio is near 1."""
    return servers if abs(wanted / servers - 1) <= SLACK else max(1, math.ceil(wanted))
