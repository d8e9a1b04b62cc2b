"""Allocates blocks of shared memory, in which decode processes leave images for workers on the same host.

The file of an arena is removed when its owner closes it. An owner that is killed leaves the file, and the next owner in
that folder removes it: the owner's lock on the file ended with its process.
"""

import bisect
import fcntl
import logging
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from service.tasks.shared_image import (
    FREE,
    GENERATION,
    PREFIX,
    STALE,
    Block,
    Pixels,
    ReadError,
    Shape,
    read,
    remove_abandoned,
)

log = logging.getLogger(__name__)

PAGE: Final = 4096  # bytes; blocks begin at whole pages, so that two processes never write to one


class Arena:
    """An arena, and which of its pages are free. It has none before `open`, and after `close`."""

    def __init__(self, folder: Path, size: int, on_use: Callable[[int], None] = lambda _used_bytes: None) -> None:
        """Prepare an arena of at most `size` bytes in a folder; with 0, `allocate` never finds a block.

        Call `on_use` with the bytes of all blocks whenever they change.
        """
        self._folder = folder
        self._pages = size // PAGE
        self._path = ""
        self._descriptor = -1
        self._free: list[tuple[int, int]] = []  # runs of free pages, in order: first page, number of pages
        self._allocated: dict[int, tuple[int, int]] = {}  # the run of each generation
        self._used_pages = 0
        self._on_use = on_use
        self._generation = secrets.randbits(62)  # random, so that pixels of a caller never look like one

    def open(self) -> None:
        """Create the file with all its memory, and remove files of owners that have ended.

        Without the memory or the folder, the arena has no pages, and a warning is logged.
        """
        if not self._pages:
            return
        try:
            remove_abandoned(self._folder)
            self._path, self._descriptor = _create(self._folder, self._pages * PAGE)
        except OSError as error:
            log.warning(
                "%d bytes of shared memory in %s cannot be had (%s): images are sent to workers as bytes",
                *(self._pages * PAGE, self._folder, error.strerror or error),
            )
            return
        self._free = [(0, self._pages)]

    def close(self) -> None:
        """Remove the file. Images in it cannot be read any more."""
        if self._descriptor >= 0:
            Path(self._path).unlink(missing_ok=True)
            os.close(self._descriptor)
        self._descriptor = -1
        self._free.clear()
        self._allocated.clear()
        self._count(-self._used_pages)

    @property
    def is_open(self) -> bool:
        """Whether there is a file."""
        return self._descriptor >= 0

    @property
    def used_bytes(self) -> int:
        """The bytes of all pages that blocks occupy."""
        return PAGE * self._used_pages

    def allocate(self, capacity: int) -> Block | None:
        """Return a block for so many bytes of pixels, more than 0, or None if there is no room."""
        count = -(-(GENERATION.size + capacity) // PAGE)
        for index, (first, available) in enumerate(self._free):
            if available >= count:
                self._free[index : index + 1] = [(first + count, available - count)] if available > count else []
                self._generation += 1
                self._allocated[self._generation] = (first, count)
                self._count(count)
                return Block(self._path, first * PAGE, capacity, self._generation)
        return None

    def free(self, block: Block) -> None:
        """Free a block, unless it is free already."""
        run = self._allocated.pop(block.generation, None)
        if run is None:
            return
        try:
            os.pwrite(self._descriptor, FREE, block.offset)  # readers check it; others write here only after it
        except OSError as error:
            log.error("a block of shared memory cannot be cleared and is not used again: %s", error)
            return
        self._count(-run[1])
        at = bisect.bisect(self._free, run)
        first, count = run
        if at < len(self._free) and self._free[at][0] == first + count:
            count += self._free.pop(at)[1]
        if at and sum(self._free[at - 1]) == first:
            at -= 1
            before = self._free.pop(at)
            first, count = before[0], before[1] + count
        self._free.insert(at, (first, count))

    def read(self, block: Block, shape: Shape) -> Pixels:
        """Return a copy of a block's pixels. Raises `ReadError`."""
        if block.generation not in self._allocated:
            raise ReadError(STALE, "The image is no longer in shared memory.")
        return read(self._descriptor, block.offset, block.generation, shape)

    def _count(self, pages: int) -> None:
        self._used_pages += pages
        self._on_use(self.used_bytes)


def _create(folder: Path, size: int) -> tuple[str, int]:
    """Return the path and the descriptor of a new file that is locked and has its memory. Raises `OSError`.

    The memory is allocated now, so that a full file system is an error here and never one of a write.
    """
    while True:
        path = folder / f"{PREFIX}{secrets.token_hex(16)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with suppress(BlockingIOError):  # another owner that starts now takes it for abandoned, and removes it
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.posix_fallocate(descriptor, 0, size)
                if os.fstat(descriptor).st_nlink:
                    return str(path), descriptor
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
