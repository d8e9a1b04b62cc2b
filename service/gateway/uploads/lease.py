"""The blocks of shared memory that one decode job writes to."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from service.gateway.uploads.arena import Arena
from service.tasks.shared_image import Block, BlockFields, InputImage, Pixels, Shape, SharedImage


class Lease:
    """The blocks of a decode job, from its start until its process cannot write to them any more."""

    def __init__(self, arena: Arena, capacities: Sequence[int]) -> None:
        """Allocate blocks in `begin`, for so many bytes of pixels each; none where the number is 0."""
        self._arena = arena
        self._capacities = capacities
        self._blocks: list[Block | None] = []
        self._in_use = False
        self._over = False

    def begin(self) -> list[BlockFields | None]:
        """Return a block for each image, None where the decode process is to return the pixels.

        Blocks of a former run are freed, or never used again if its process may still write to them.
        """
        if not self._in_use:
            self._free()
        self._in_use = True
        self._blocks = [self._arena.allocate(capacity) if capacity else None for capacity in self._capacities]
        return [None if block is None else (*block,) for block in self._blocks]

    def end(self) -> None:
        """Note that the decode process has finished its job, or has ended. Without this call no block is reused."""
        self._in_use = False
        if self._over:
            self._free()

    def claim(self, images: Sequence[Pixels | Shape]) -> list[InputImage]:
        """Return the images of the job: pixels as they are, and a shape as the image in its block.

        Raises `ValueError` for a shape that cannot be in the block.
        """
        claimed: list[InputImage] = []
        for index, image in enumerate(images):
            block = self._blocks[index]
            if not isinstance(image, tuple):
                claimed.append(image)
            elif block is None:
                raise ValueError(f"an image of {image} is in no block")
            else:
                claimed.append(SharedImage(self._arena, block, image))
                self._blocks[index] = None
        return claimed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the blocks that were not claimed, as soon as no process writes to them."""
        self._over = True
        if not self._in_use:
            self._free()

    def _free(self) -> None:
        for block in self._blocks:
            if block is not None:
                self._arena.free(block)
        self._blocks = []
