"""Merge the batches that wait for an engine into one forward pass.

Each gateway gathers its own batches. With many gateways these are small, and a GPU takes nearly as long for a small
batch as for a large one.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from service.engines import Images
from service.worker.batches.batch import BatchedOutput
from service.worker.exchange import ExpiredImageError

Kind = TypeVar("Kind", bound=Hashable)
Outcome = BatchedOutput | Exception


@dataclass(eq=False)
class _Batch(Generic[Kind]):
    """A batch: its images and when they expire, those that no pass has, their outcomes, whether its thread waits."""

    kind: Kind
    images: Images
    expires: Sequence[float]
    left: list[int]
    waits: bool = True
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    def is_done(self) -> bool:
        return len(self.outcomes) == len(self.images)

    def drop_expired(self, now: float) -> None:
        """Give the images that have expired and that no pass has an outcome."""
        self.outcomes |= {index: ExpiredImageError() for index in self.left if now > self.expires[index]}
        self.left = [index for index in self.left if now <= self.expires[index]]

    def pixels(self, indices: Sequence[int]) -> Images:
        """Return some images, without a copy if they follow each other."""
        first, end = indices[0], indices[-1] + 1
        return self.images[first:end] if end - first == len(indices) else self.images[indices]


_Part = tuple[_Batch[Kind], list[int]]  # images of a batch, by their indices


class EngineQueue(Generic[Kind]):
    """The batches that wait for an engine, which takes `calls` at the same time. Any thread may add one."""

    def __init__(
        self,
        run: Callable[[Kind, Images], Sequence[Outcome]],
        calls: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`run` computes images (n, h, w, 3) of one kind, and returns an outcome for each. `clock` is Unix time."""
        self._run = run
        self._clock = clock
        self._free = calls
        self._waiting: list[_Batch[Kind]] = []
        self._changed = threading.Condition()

    def outcomes(self, kind: Kind, images: Sequence[Images], expires: Sequence[float], most: int) -> Sequence[Outcome]:
        """Return an outcome for each of the images (h, w, 3), all of one shape, which belongs to `kind`.

        A pass has at most `most` images, those that have waited longest among the ones of that kind. So a batch may be
        computed in two passes. It ends no later for that: whole, it would have been in the second one. An image that
        no pass has begun with when it `expires` (Unix time in seconds) gets an `ExpiredImageError`.
        """
        # While the engine computes the batch before.
        mine = _Batch(kind, np.stack(images), expires, list(range(len(images))))
        with self._changed:
            self._waiting.append(mine)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: mine.is_done() or self._is_next(mine))
                if mine.is_done():  # other threads may have taken this batch along
                    return [mine.outcomes[index] for index in range(len(images))]
                parts = self._take(kind, most)
                self._changed.notify_all()  # another call may take the rest of this batch, or all of them expired
                if not parts:
                    continue
                mine.waits = False
                self._free -= 1
            found = self._computed(kind, parts)
            with self._changed:
                mine.waits = True
                self._free += 1
                for batch, indices in parts:
                    batch.outcomes |= zip(indices, found, strict=False)
                    found = found[len(indices) :]
                self._changed.notify_all()

    def _computed(self, kind: Kind, parts: Sequence[_Part[Kind]]) -> Sequence[Outcome]:
        pixels = [batch.pixels(indices) for batch, indices in parts]
        try:
            return self._run(kind, pixels[0] if len(pixels) == 1 else np.concatenate(pixels))
        except Exception as error:
            return [error] * sum(map(len, pixels))

    def _is_next(self, batch: _Batch[Kind]) -> bool:
        """Return whether this is the oldest of the batches whose threads wait: the first may be in a pass already."""
        return self._free > 0 and batch is next((each for each in self._waiting if each.waits), None)

    def _take(self, kind: Kind, most: int) -> list[_Part[Kind]]:
        """Begin with the images that have waited longest among those of a kind, at most `most`, and drop late ones."""
        parts: list[_Part[Kind]] = []
        now = self._clock()
        for each in self._waiting:
            each.drop_expired(now)
            if most and each.left and each.kind == kind:
                parts.append((each, each.left[:most]))
                each.left = each.left[most:]
                most -= len(parts[-1][1])
        self._waiting = [each for each in self._waiting if each.left]
        return parts
