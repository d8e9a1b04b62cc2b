"""Simulate the service behind the manifests: gateways that admit images, and workers that compute them in batches.

Images arrive at random. A gateway sends an image to the less busy of two workers chosen at random. A worker that is
free takes all images that wait for it, up to its largest batch: workers merge the batches of gateways. Time is the
caller's, in seconds from the start, so that a plant runs beside a clock or as fast as it can.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

CHUNK_S: Final = 0.05  # for which the rate of arrivals is constant


class BatchCurve(NamedTuple):
    """The seconds of a batch, `batch_s + image_s * images`, and the largest batch."""

    batch_s: float
    image_s: float
    largest: int

    @property
    def capacity(self) -> float:
        """Images a second in full batches."""
        return self.largest / (self.batch_s + self.image_s * self.largest)


@dataclass
class Counts:
    """Images since the start: offered, rejected for taken slots, answered, of those late, lost with a worker."""

    offered: int = 0
    rejected: int = 0
    answered: int = 0
    late: int = 0
    lost: int = 0

    @property
    def missed(self) -> int:
        """Images that were not answered in time."""
        return self.rejected + self.late + self.lost


@dataclass
class _Worker:
    name: str
    waiting: deque[float] = field(default_factory=deque)  # arrival times
    batch: list[float] = field(default_factory=list)
    ends_at: float = 0.0

    @property
    def images(self) -> int:
        return len(self.waiting) + len(self.batch)


class Plant:
    """A simulated service. `slots` is the number of images that one gateway admits at a time."""

    def __init__(
        self, curve: BatchCurve, slots: int, deadline_s: float, rate: Callable[[float], float], seed: int = 1
    ) -> None:
        self.counts = Counts()
        self.in_flight = 0
        self.times: list[float] = []  # seconds of each answered image since `times` was last emptied
        self._curve = curve
        self._slots = slots
        self._deadline_s = deadline_s
        self._rate = rate
        self._now = 0.0
        self._gateways = 0
        self._workers: dict[str, _Worker] = {}
        self._open: list[_Worker] = []
        self._ends: list[tuple[float, str]] = []
        self._chance = random.Random(seed)
        self._arrivals = np.random.default_rng(seed)

    def rate_at(self, now: float) -> float:
        """Return the images a second that callers offer at a time."""
        return self._rate(now)

    def set_pods(self, ready: Collection[str], ending: Collection[str], gateways: int) -> None:
        """Name the workers that take images, those that only finish theirs, and the number of ready gateways.

        The images of a worker that is neither are lost.
        """
        for name in self._workers.keys() - {*ready, *ending}:
            gone = self._workers.pop(name).images
            self.in_flight -= gone
            self.counts.lost += gone
        for name in ready:
            self._workers.setdefault(name, _Worker(name))
        self._open = [self._workers[name] for name in ready]
        self._gateways = gateways

    def advance(self, until_s: float) -> None:
        """Simulate until a time."""
        while self._now < until_s:
            end = min(self._now + CHUNK_S, until_s)
            count = self._arrivals.poisson(self._rate(self._now) * (end - self._now))
            for at in sorted(self._arrivals.uniform(self._now, end, count).tolist()):
                self._finish(at)
                self._arrive(at)
            self._finish(end)
            self._now = end

    def _arrive(self, at: float) -> None:
        self.counts.offered += 1
        if not self._open or self.in_flight >= self._slots * self._gateways:
            self.counts.rejected += 1
            return
        worker = min(self._chance.choice(self._open), self._chance.choice(self._open), key=lambda each: each.images)
        worker.waiting.append(at)
        self.in_flight += 1
        if not worker.batch:
            self._begin(worker, at)

    def _begin(self, worker: _Worker, at: float) -> None:
        count = min(len(worker.waiting), self._curve.largest)
        worker.batch = [worker.waiting.popleft() for _ in range(count)]
        worker.ends_at = at + self._curve.batch_s + self._curve.image_s * count
        heapq.heappush(self._ends, (worker.ends_at, worker.name))

    def _finish(self, now: float) -> None:
        """End the batches that are due."""
        while self._ends and self._ends[0][0] <= now:
            at, name = heapq.heappop(self._ends)
            worker = self._workers.get(name)
            if worker is None or not worker.batch or worker.ends_at != at:  # it has gone, or is another of this name
                continue
            taken = [at - each for each in worker.batch]
            self.times += taken
            self.counts.answered += len(taken)
            self.counts.late += sum(each > self._deadline_s for each in taken)
            self.in_flight -= len(taken)
            worker.batch = []
            if worker.waiting:
                self._begin(worker, at)
