"""Simulate one model server with batches and random arrivals, at loads up to its capacity."""

import random
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache

from deploy.planning.server_kinds import ServerKind

SHARES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of the capacity
GRID = 200  # steps from no load to the capacity
IMAGES = 6_000
SEED = 1


@dataclass(frozen=True)
class State:
    """A server at a load: images in flight, the busy share of its time, and the share of images above the bound."""

    in_flight: float
    busy: float
    late: float


def simulate(kind: ServerKind, rate: float, images: int = IMAGES) -> State:
    """Return the mean state at a rate of images a second, with arrivals as of a Poisson process.

    A batch begins as soon as the server is idle, with the images that have arrived, as the gateway's batcher does.
    """
    source, now, arrivals = random.Random(SEED), 0.0, []  # a simulation, no secret
    for _ in range(images):
        now += source.expovariate(rate)
        arrivals.append(now)
    free = total = busy = 0.0
    first = late = 0
    while first < images:
        start, last = max(free, arrivals[first]), first
        while last < images and arrivals[last] <= start and last - first < kind.most:
            last += 1
        duration = kind.batch_s + kind.image_s * (last - first)
        free, busy = start + duration, busy + duration
        waits = [free - each for each in arrivals[first:last]]
        total += sum(waits)
        late += sum(wait > kind.bound_s for wait in waits)
        first = last
    return State(total / free, busy / free, late / images)


@cache
def states(kind: ServerKind) -> tuple[State, ...]:
    """Return the states at `SHARES` of the capacity."""
    return tuple(simulate(kind, share * kind.capacity) for share in SHARES)


def at(kind: ServerKind, share: float) -> State:
    """Return the state at a share of the capacity, to the nearest half per cent."""
    return _grid(kind)[min(GRID, round(share * GRID))]


@cache
def _grid(kind: ServerKind) -> tuple[State, ...]:
    return tuple(_between(states(kind), index / GRID) for index in range(GRID + 1))


def _between(known: tuple[State, ...], share: float) -> State:
    """Return the state between those of the nearest simulated loads."""
    above = bisect_left(SHARES, share)
    if above in {0, len(SHARES)}:
        return _scaled(known[0], share / SHARES[0]) if above == 0 else known[-1]
    low, high = SHARES[above - 1], SHARES[above]
    part = (share - low) / (high - low)
    pairs = zip(vars(known[above - 1]).values(), vars(known[above]).values(), strict=True)
    return State(*(one + part * (other - one) for one, other in pairs))


def _scaled(state: State, part: float) -> State:
    return State(state.in_flight * part, state.busy * part, state.late)
