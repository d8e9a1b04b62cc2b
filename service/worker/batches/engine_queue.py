"""Merge the batches that wait for an engine into one forward pass.

Each gateway gathers its own batches. With many gateways these are small, and a GPU takes nearly as long for a small
batch as for a large one.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from service.engines import Images
from service.worker.batches.batch import BatchedOutput

Kind = TypeVar("Kind", bound=Hashable)
Outcome = BatchedOutput | Exception


@dataclass(eq=False)
class _Batch(Generic[Kind]):
    """A batch: the images that passes have begun with, the outcomes of those that ended, whether its thread waits."""

    kind: Kind
    images: Images
    begun: int = 0
    waits: bool = True
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    def is_done(self) -> bool:
        return len(self.outcomes) == len(self.images)


_Part = tuple[_Batch[Kind], range]  # images of a batch, by their indices


class EngineQueue(Generic[Kind]):
    """The batches that wait for an engine, which takes `calls` at the same time. Any thread may add one."""

    def __init__(self, run: Callable[[Kind, Images], Sequence[Outcome]], calls: int) -> None:
        """`run` computes images (n, h, w, 3) of one kind, and returns an outcome for each."""
        self._run = run
        self._free = calls
        self._waiting: list[_Batch[Kind]] = []
        self._changed = threading.Condition()

    def outcomes(self, kind: Kind, images: Sequence[Images], most: int) -> Sequence[Outcome]:
        """Return an outcome for each of the images (h, w, 3), all of one shape, which belongs to `kind`.

        A pass has at most `most` images, those that have waited longest among the ones of that kind. So a batch may be
        computed in two passes. It ends no later for that: whole, it would have been in the second one.
        """
        mine = _Batch(kind, np.stack(images))  # while the engine computes the batch before
        with self._changed:
            self._waiting.append(mine)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: mine.is_done() or self._is_next(mine))
                if mine.is_done():  # other threads may have taken this batch along
                    return [mine.outcomes[index] for index in range(len(images))]
                mine.waits = False
                parts = self._take(kind, most)
                self._free -= 1
                self._changed.notify_all()  # another call may take the rest of this batch
            found = self._computed(kind, parts)
            with self._changed:
                mine.waits = True
                self._free += 1
                for batch, indices in parts:
                    batch.outcomes |= zip(indices, found, strict=False)
                    found = found[len(indices) :]
                self._changed.notify_all()

    def _computed(self, kind: Kind, parts: Sequence[_Part[Kind]]) -> Sequence[Outcome]:
        pixels = [batch.images[indices.start : indices.stop] for batch, indices in parts]
        try:
            return self._run(kind, pixels[0] if len(pixels) == 1 else np.concatenate(pixels))
        except Exception as error:
            return [error] * sum(map(len, pixels))

    def _is_next(self, batch: _Batch[Kind]) -> bool:
        """Return whether this is the oldest of the batches whose threads wait: the first may be in a pass already."""
        return self._free > 0 and batch is next((each for each in self._waiting if each.waits), None)

    def _take(self, kind: Kind, most: int) -> list[_Part[Kind]]:
        """Begin with the images that have waited longest among those of a kind, at most `most`."""
        parts: list[_Part[Kind]] = []
        for each in self._waiting:
            if most and each.kind == kind:
                parts.append((each, range(each.begun, min(each.begun + most, len(each.images)))))
                each.begun = parts[-1][1].stop
                most -= len(parts[-1][1])
        self._waiting = [each for each in self._waiting if each.begun < len(each.images)]
        return parts
