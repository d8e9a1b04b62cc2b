"""Simulate a day of a fleet under a scaling policy, with the behaviour of the shipped autoscaler."""

import random
from collections import deque
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.planning import one_server
from deploy.planning.day_shapes import DAY_S, HOUR_S
from deploy.planning.policies import Fleet, Policy, Seen, fixed

STEP_S: Final = 15  # of Kubernetes' controller, and between scrapes
RATE_S: Final = 60  # over which offered images are counted
LEAST: Final = 2
SPARE: Final = 1.5  # the most servers, as a multiple of those for the peak
NOISE: Final = 0.05  # the standard deviation of the load between two steps
AUTOSCALER: Final = Path(__file__).parents[1] / "kubernetes/base/worker/autoscaling.yaml"


@dataclass(frozen=True)
class Day:
    """A day: hours of servers, the share of images that were late or rejected, changes, and servers by time."""

    server_hours: float
    missed: float
    changes: int
    servers: tuple[tuple[float, int], ...]


@cache
def behavior() -> dict[str, Any]:
    """Return how fast the shipped autoscaler scales."""
    found: dict[str, Any] = yaml.safe_load(AUTOSCALER.read_text(encoding="utf-8"))["spec"]["behavior"]
    return found


class Scaler:
    """The rules of Kubernetes around a policy: the window before scaling down, and the speed of both directions."""

    def __init__(self, least: int, most: int) -> None:
        self._limits = least, most
        self._recommended: deque[tuple[float, int]] = deque()
        (self._up,), (self._down,) = (behavior()[way]["policies"] for way in ("scaleUp", "scaleDown"))
        self._window_s = behavior()["scaleDown"]["stabilizationWindowSeconds"]
        self._changed: deque[tuple[float, int]] = deque()

    def next(self, second: float, current: int, wanted: int) -> int:
        """Return the number of servers from now on."""
        least, most = self._limits
        wanted = min(most, max(least, wanted))
        self._recommended.append((second, wanted))
        while self._recommended[0][0] < second - self._window_s:
            self._recommended.popleft()
        if wanted < current:
            wanted = min(current, max(number for _, number in self._recommended))
        way = self._up if wanted > current else self._down
        recent = sum(change for at, change in self._changed if at > second - way["periodSeconds"])
        room = max(0, way["value"] - abs(recent))
        after: int = min(wanted, current + room) if wanted > current else max(wanted, current - room)
        if after != current:
            self._changed.append((second, after - current))
            while self._changed[0][0] <= second - 120:
                self._changed.popleft()
        return after


class Servers:
    """The servers of a fleet: ready ones, starting ones, and images that wait because there are too few."""

    def __init__(self, fleet: Fleet, ready: int, slots: float) -> None:
        self._fleet = fleet
        self._slots = slots
        self.ready = ready
        self.starting: deque[float] = deque()
        self.backlog = 0.0

    @property
    def present(self) -> int:
        """Ready and starting servers."""
        return self.ready + len(self.starting)

    def scale(self, second: float, servers: int) -> None:
        """Start or stop servers, those first that are still starting."""
        while self.present < servers:
            self.starting.append(second + self._fleet.kind.cold_start_s)
        while self.present > servers and self.starting:
            self.starting.pop()
        self.ready = min(self.ready, servers)

    def step(self, second: float, rate: float) -> tuple[float, float, float]:
        """Return the images that were missed in a step, those in flight after it, and the busy share."""
        while self.starting and self.starting[0] <= second:
            self.starting.popleft()
            self.ready += 1
        most = self.ready * self._fleet.kind.capacity
        arrived, done = rate * STEP_S, min(most * STEP_S, self.backlog + rate * STEP_S)
        waiting = self.backlog + arrived - done
        rejected = max(0.0, waiting - self._slots)
        self.backlog = waiting - rejected
        state = one_server.at(self._fleet.kind, min(1.0, rate / most))
        is_late = self.backlog / most > self._fleet.kind.bound_s
        missed = rejected + (done if is_late else state.late * arrived)
        return missed, self.backlog + self.ready * state.in_flight, 1.0 if self.backlog else state.busy


def simulate(fleet: Fleet, policy: Policy, seed: int = 1) -> Day:
    """Return a day of a fleet under a policy. It begins with the servers for its first second."""
    source, peak = random.Random(seed), fleet.needed(fleet.peak)
    start = peak if policy is fixed else max(LEAST, fleet.needed(fleet.peak * fleet.shape(0)))
    slots = SPARE * peak * max(2 * fleet.target, fleet.kind.capacity * fleet.kind.bound_s)
    servers, scaler = Servers(fleet, start, slots), Scaler(LEAST, round(SPARE * peak))
    rates: deque[float] = deque(maxlen=RATE_S // STEP_S)
    used = missed = offered = 0.0
    changes, trace = 0, []
    for second in range(0, DAY_S, STEP_S):
        rate = max(0.0, fleet.peak * fleet.shape(second) * source.gauss(1, NOISE))
        rates.append(rate)
        lost, in_flight, busy = servers.step(second, rate)
        missed, offered = missed + lost, offered + rate * STEP_S
        used += servers.present * STEP_S
        seen = Seen(second, servers.present, in_flight, sum(rates) / len(rates), busy)
        after = scaler.next(second, servers.present, policy(fleet, seen))
        changes += after != servers.present
        servers.scale(second, after)
        trace.append((float(second), after))
    return Day(used / HOUR_S, min(1.0, missed / offered), changes, tuple(trace))


def ideal_hours(fleet: Fleet) -> float:
    """Return the hours of servers that would start at once, exactly when they are needed."""
    needed = (fleet.needed(fleet.peak * fleet.shape(second)) for second in range(0, DAY_S, STEP_S))
    return sum(max(LEAST, each) for each in needed) * STEP_S / HOUR_S
