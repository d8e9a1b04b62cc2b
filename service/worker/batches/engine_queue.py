"""Merge the batches that wait for an engine into one forward pass.

Each gateway gathers its own batches. With many gateways these are small, and a GPU takes nearly as long for a small
batch as for a large one.
"""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from service.engines import Images
from service.worker.batches.batch import BatchedOutput

Kind = TypeVar("Kind", bound=Hashable)
Outcome = BatchedOutput | Exception


@dataclass(eq=False)
class _Batch(Generic[Kind]):
    kind: Kind
    images: Images
    outcomes: Sequence[Outcome] | None = None


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

        The pass has at most `most` images. It holds other batches of the same kind that waited too.
        """
        mine = _Batch(kind, np.stack(images))  # while the engine computes the batch before
        with self._changed:
            self._waiting.append(mine)
            self._changed.wait_for(lambda: mine.outcomes is not None or self._is_next(mine))
            if mine.outcomes is not None:  # another thread has taken this batch along
                return mine.outcomes
            merged = self._take(most)
            self._free -= 1
        try:
            together = mine.images if len(merged) == 1 else np.concatenate([each.images for each in merged])
            found = self._run(kind, together)
        except Exception as error:
            found = [error] * sum(len(each.images) for each in merged)
        with self._changed:
            self._free += 1
            for each in merged:
                each.outcomes, found = found[: len(each.images)], found[len(each.images) :]
            self._changed.notify_all()
        return mine.outcomes or ()

    def _is_next(self, batch: _Batch[Kind]) -> bool:
        return self._free > 0 and self._waiting[:1] == [batch]

    def _take(self, most: int) -> list[_Batch[Kind]]:
        """Remove the oldest batch and others of its kind, as long as they have at most `most` images together."""
        taken: list[_Batch[Kind]] = []
        rest: list[_Batch[Kind]] = []
        room = most
        for each in self._waiting:
            if not taken or (each.kind == taken[0].kind and len(each.images) <= room):
                taken.append(each)
                room -= len(each.images)
            else:
                rest.append(each)
        self._waiting = rest
        return taken
