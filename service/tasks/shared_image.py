"""The network's input of an image in shared memory, where a worker on the same host reads it.

An arena is a file in a folder in memory. The gateway process that owns it allocates blocks of it, each for one image:

    8 bytes  the generation of the block, little-endian; 0 while the block is free
    pixels   uint8 (h, w, 3), C-contiguous

A decode process writes the generation and then the pixels. The frame to the worker has a reference to the block. A
reader checks the generation after it has copied the pixels. The owner clears it before the block's bytes are used
again, and uses no generation twice. So pixels whose generation was still there are those that the reference means.

All access is by `pread` and `pwrite`. Nothing is mapped: a wild write of a decoder that crashes cannot reach the arena,
and a file that became shorter gives a short read, not SIGBUS. Each of these calls takes a reference to a page by an
atomic operation, which orders it after the calls before it on every processor.
"""

import fcntl
import os
import stat
import struct
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

PREFIX: Final = "resnest-arena-"
FOLDER: Final = Path("/dev/shm")  # noqa: S108 - the file system in memory; names in it are random, files private
VARIABLE: Final = "RESNEST_SHARED_MEMORY_DIR"  # the same for gateway and worker, which may see the folder elsewhere
GENERATION: Final = struct.Struct("<Q")
FREE: Final = GENERATION.pack(0)

# Codes of a worker's failure: it cannot open the arena, or the block no longer holds the image.
UNREADABLE: Final = "shared_memory_unreadable"
STALE: Final = "shared_image_stale"

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, ...]


class ReadError(Exception):
    """An image that cannot be read; `code` is `UNREADABLE` or `STALE`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Block(NamedTuple):
    """A block: the path of its arena, its offset there, the most bytes of pixels, and its generation."""

    arena: str
    offset: int
    capacity: int
    generation: int


BlockFields = tuple[str, int, int, int]  # a block as a plain tuple: pickling its class as well takes 15 µs more


class Blocks(Protocol):
    """The owner of an arena, as an image in one of its blocks sees it."""

    def read(self, block: Block, shape: Shape) -> Pixels:
        """Return a copy of a block's pixels. Raise `ReadError`."""

    def free(self, block: Block) -> None:
        """Free a block, unless it is free already."""


class SharedImage:
    """The network's input of an image, in a block that `release`, or the end of the last reference, frees."""

    __slots__ = ("_block", "_blocks", "shape")

    def __init__(self, blocks: Blocks, block: Block, shape: Shape) -> None:
        """Take the block over. Raises `ValueError` if the shape is not (h, w, 3), or does not fit."""
        self._blocks, self._block = blocks, block
        self.shape = shape
        if len(shape) != 3 or shape[2] != 3 or min(shape) < 1 or size_of(shape) > block.capacity:
            raise ValueError(f"{shape} does not fit into {block.capacity} bytes")

    @property
    def reference(self) -> dict[str, Any]:
        """What `read_reference` finds the image by: JSON values."""
        block = self._block
        return {
            "arena": block.arena.rpartition("/")[2],
            "offset": block.offset,
            "generation": block.generation,
            "shape": self.shape,
        }

    def pixels(self) -> Pixels:
        """Return a copy of the pixels. Raises `ReadError` after `release`."""
        return self._blocks.read(self._block, self.shape)

    def release(self) -> None:
        """Free the block. A worker that reads it later notices."""
        self._blocks.free(self._block)

    def __del__(self) -> None:
        self.release()


InputImage = Pixels | SharedImage


def release(images: Iterable[InputImage]) -> None:
    """Free the blocks of those images that are in shared memory."""
    for image in images:
        if isinstance(image, SharedImage):
            image.release()


def folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the arenas that a worker reads."""
    return Path(environment.get(VARIABLE) or FOLDER)


def size_of(shape: Shape) -> int:
    """Return the bytes of the pixels of an image."""
    height, width, channels = shape
    return height * width * channels


def write(block: Block, pixels: Pixels) -> bool:
    """Write pixels into a block; return False if that is not possible."""
    if pixels.nbytes > block.capacity:
        return False
    try:
        arena = _opened(block.arena)
        # Two calls: a reader of the block's former image must see the new generation before the first new pixel.
        os.pwrite(arena, GENERATION.pack(block.generation), block.offset)
        written = os.pwrite(arena, np.ascontiguousarray(pixels).data, block.offset + GENERATION.size)
    except OSError:
        return False
    return written == pixels.nbytes


def read(arena: int, offset: int, generation: int, shape: Shape) -> Pixels:
    """Return a copy of the pixels at an offset of the arena with this descriptor. Raises `ReadError`."""
    expected = GENERATION.pack(generation)
    before, pixels = bytearray(GENERATION.size), np.empty(shape, np.uint8)
    try:
        count = os.preadv(arena, [before, pixels.data.cast("B")], offset)
        after = os.pread(arena, GENERATION.size, offset)
    except OSError as error:
        raise ReadError(UNREADABLE, f"The shared memory cannot be read: {error.strerror}.") from error
    if count != GENERATION.size + pixels.nbytes or not before == after == expected:
        raise ReadError(STALE, "The shared memory holds another image by now.")
    return pixels


def parse_reference(reference: Mapping[str, Any]) -> tuple[str, int, int, Shape]:
    """Return the arena's name, offset, generation and shape. Raises `ValueError`, `TypeError` or `KeyError`."""
    name, shape = str(reference["arena"]), tuple(int(side) for side in reference["shape"])
    if not name.startswith(PREFIX) or "/" in name:
        raise ValueError(f"{name!r} is no arena")
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"{shape} is no shape of an image")
    offset, generation = int(reference["offset"]), int(reference["generation"])
    if offset < 0 or not 0 < generation < 1 << 64:
        raise ValueError(f"there is no block at {offset} with the generation {generation}")
    return name, offset, generation, shape


def open_arena(path: Path, mode: int = os.O_RDONLY) -> int:
    """Return a descriptor of an arena. Raises `OSError`, also if the path is something other than a file."""
    descriptor = os.open(path, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no file")
    return descriptor


def has_owner(folder: Path) -> bool:
    """Return whether a process that is alive owns an arena in the folder: a gateway on this host."""
    return any(_is_owned(path) for path in folder.glob(f"{PREFIX}*"))


def _is_owned(path: Path) -> bool:
    try:
        descriptor = open_arena(path)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove_abandoned(folder: Path) -> list[Path]:
    """Remove this user's arenas whose owners have ended, and return their paths."""
    return [path for path in sorted(folder.glob(f"{PREFIX}*")) if _remove_if_abandoned(path)]


def _remove_if_abandoned(path: Path) -> bool:
    try:
        descriptor = open_arena(path, os.O_RDWR)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_uid != os.getuid():
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


@cache
def _opened(arena: str) -> int:
    """Return the descriptor with which this process writes; a decode process has one gateway, and so one arena."""
    return open_arena(Path(arena), os.O_RDWR)
