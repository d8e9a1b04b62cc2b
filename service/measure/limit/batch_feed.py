"""Batches that decode processes prepare in shared memory, ahead of the engine that takes them."""

import tempfile
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from service.imaging.decoder import ImageLimits
from service.models.inputs import Input
from service.tasks import decode_jobs
from service.tasks.base import Pixels

AHEAD = 4  # batches that are ready or in preparation, besides those that engines have
MEMORY_FILES = Path("/dev/shm")  # noqa: S108 - a file system in memory, where the system has one

Shape = tuple[int, ...]  # of a prepared image: height, width, 3


class PlannedBatch(NamedTuple):
    """A batch to prepare: the shape of its images, and the uploads in it by index."""

    shape: Shape
    uploads: list[int]


@dataclass(frozen=True)
class FeedSource:
    """What decode processes need: the uploads, the limits of the decoder, and the input of the network."""

    uploads: Sequence[bytes]
    limits: ImageLimits
    spec: Input


def plan(shapes: Sequence[Shape], size: int) -> Iterator[PlannedBatch]:
    """Yield full batches of images of one shape without end. All uploads come equally often.

    `shapes` are those of the prepared uploads.
    """
    waiting: dict[Shape, list[int]] = defaultdict(list)
    for index in cycle(range(len(shapes))):
        group = waiting[shapes[index]]
        group.append(index)
        if len(group) == size:
            yield PlannedBatch(shapes[index], waiting.pop(shapes[index]))


class BatchFeed:
    """Full batches, always prepared before they are asked for if the processes are fast enough.

    Decoding never waits for an engine, and pixels are not copied between processes. Several threads can take batches.
    """

    def __init__(self, source: FeedSource, shapes: Sequence[Shape], size: int, processes: int, engines: int) -> None:
        """Start the processes. `size` is that of a batch. At most `engines` batches are in use at a time."""
        self._plan = plan(shapes, size)
        self._slot_bytes = size * max(int(np.prod(shape)) for shape in shapes)
        folder = MEMORY_FILES if MEMORY_FILES.is_dir() else None
        self._file = tempfile.NamedTemporaryFile(prefix="batches-", dir=folder)  # noqa: SIM115 - closed by `close`
        slots = AHEAD + engines
        self._file.truncate(slots * self._slot_bytes)
        self._memory = np.memmap(self._file.name, np.uint8, "r+")
        self._pool = ProcessPoolExecutor(
            processes, get_context("spawn"), initializer=_Decoder.start, initargs=(source, self._file.name)
        )
        self._lock = Lock()
        self._pending: deque[tuple[int, PlannedBatch, Future[None]]] = deque()
        for slot in range(slots):
            self._prepare(slot)

    def wait_until_full(self) -> None:
        """Wait until all batches ahead are ready. Raises what a decode process raised."""
        for future in wait([future for *_, future in self._pending]).done:
            future.result()

    @property
    def ready(self) -> int:
        """The number of batches that can be taken without waiting for their preparation."""
        with self._lock:
            return sum(future.done() for *_, future in self._pending)

    @contextmanager
    def batch(self) -> Iterator[Pixels]:
        """Lend the next batch, `(n, h, w, 3)`. Its memory is used again afterwards. Raises what a decoder raised."""
        with self._lock:
            slot, planned, future = self._pending.popleft()
        future.result()
        shape = (len(planned.uploads), *planned.shape)
        start = slot * self._slot_bytes
        yield np.asarray(self._memory[start : start + int(np.prod(shape))].reshape(shape))
        self._prepare(slot)

    def close(self) -> None:
        """End the processes and remove the shared memory."""
        self._pool.shutdown(cancel_futures=True)
        self._file.close()

    def _prepare(self, slot: int) -> None:
        with self._lock:
            planned = next(self._plan)
            future = self._pool.submit(_fill, slot * self._slot_bytes, planned)
            self._pending.append((slot, planned, future))


class _Decoder:
    """What a decode process keeps: its source and the shared memory."""

    source: FeedSource
    memory: Any

    @classmethod
    def start(cls, source: FeedSource, file: str) -> None:
        """Prepare this process for `_fill`."""
        cls.source = source
        cls.memory = np.memmap(file, np.uint8, "r+")


def _fill(start: int, planned: PlannedBatch) -> None:
    """Prepare a batch at this place in the shared memory."""
    shape = (len(planned.uploads), *planned.shape)
    batch = _Decoder.memory[start : start + int(np.prod(shape))].reshape(shape)
    source = _Decoder.source
    for place, index in enumerate(planned.uploads):
        _, (batch[place],) = decode_jobs.prepare(source.uploads[index], source.limits, [source.spec])
