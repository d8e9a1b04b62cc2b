"""Decodes uploads in processes: fair between callers and tasks, separated by size, and never beyond a deadline.

Background work is decoded in the processes for large images, which have a lower priority.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from service.errors import DeadlineExceeded, ImageCorrupt, ImageTooCostly, ImageTooLarge, MasksTooLarge
from service.gateway.scheduling.background import is_background
from service.gateway.scheduling.request_terms import DEFAULT_URGENCY, RequestTerms
from service.gateway.uploads.arena import Arena
from service.gateway.uploads.lease import Lease
from service.gateway.uploads.process_pool import ProcessPool
from service.imaging import decoder, image_header, preprocess
from service.models.cards import ModelCard
from service.tasks import decode_jobs, operation_of
from service.tasks.base import DecodedFacts, Layer, Painting
from service.tasks.shared_image import InputImage

Result = TypeVar("Result")

SMALL_PIXELS: Final = 4_000_000  # images up to this size are decoded in processes that never decode large images
# The niceness of the processes for large images. Measured on two cores, with eight callers that send 20-megapixel
# photos: a small image's answer takes 54 ms (p99), with a niceness of 5 66 to 91 ms. With sixteen callers that send
# small images, large ones take four times as long.
NICE: Final = 10
# The pixels of one unit of cost. No image costs less, because the transfer to the process takes time too.
COST_PIXELS: Final = 1_000_000
RETRY_START_S: Final = 2.0  # if no process can be started
LATE: Final = "The image was not decoded before the deadline."
FILE_COST: Final = 3  # of each file that is drawn, times the cost of decoding, which is done once for all of them


@dataclass(frozen=True)
class _Job:
    """One piece of work: whose it is, its deadline on the loop's clock, and its blocks of shared memory.

    Its cost is that of `pixels`, those of an upload times `cost_factor`, and of the `pasted` pixels of its masks.
    """

    pixels: int
    cost_factor: int
    card: ModelCard
    terms: RequestTerms
    deadline: float
    urgency_gain: int = 0
    lease: Lease | None = None
    pasted: int = 0

    @property
    def cost(self) -> float:
        return self.cost_factor * max(1.0, self.pixels / COST_PIXELS) + self.pasted / COST_PIXELS


class DecodeQueue:
    """Decodes uploads in processes, and large ones in processes of low priority.

    A flood of uploads of one caller or one task delays those of another by at most one turn.
    """

    def __init__(
        self,
        small: ProcessPool,
        large: ProcessPool,
        limits: decoder.ImageLimits,
        arena: Arena | None = None,
        shares_memory: Callable[[ModelCard], bool] = lambda _card: True,
    ) -> None:
        """Use these pools, and end them in `close`.

        The inputs of the models that `shares_memory` names are written into the arena, if one is given and has room.
        """
        self._small = small
        self._large = large
        self._arena = arena or Arena(Path(), 0)
        self._shares_memory = shares_memory
        self._limits = limits
        self._limits_of_small = replace(limits, max_pixels=min(SMALL_PIXELS, limits.max_pixels))

    @property
    def has_room_for_background(self) -> bool:
        """Whether one more image of background work would delay no other one."""
        return self._large.has_room

    async def warm(self) -> None:
        """Start all processes, so that no image waits for one to start."""
        await asyncio.gather(self._small.warm(), *([self._large.warm()] if is_large(self._limits.max_pixels) else []))

    def failure(self) -> str | None:
        """Return why no process can be started, or None."""
        return self._small.failure or self._large.failure

    async def keep_started(self, pause_s: float = RETRY_START_S) -> None:
        """Start all processes, and try again after a pause as long as none can be started."""
        await self.warm()
        while True:
            await asyncio.sleep(pause_s)
            if self.failure():
                await self.warm()

    async def close(self) -> None:
        """Cancel the running jobs, and end the processes."""
        await asyncio.gather(self._small.close(), self._large.close())

    async def prepare(
        self, upload: bytes, cards: Sequence[ModelCard], terms: RequestTerms, deadline: float
    ) -> tuple[DecodedFacts, list[InputImage]]:
        """Return the facts of an upload and its input for each of the cards, which must have the same task.

        `deadline` is on the loop's clock. Raises `ServiceError`.
        """
        specs = [operation_of(card, terms.operation).input(card) for card in cards]
        capacities = [
            preprocess.largest_bytes(spec) if self._shares_memory(card) else 0
            for card, spec in zip(cards, specs, strict=True)
        ]
        with Lease(self._arena, capacities) as lease:
            job = _Job(self._pixels(upload), 1, cards[0], terms, deadline, lease=lease)
            facts, images = await self._decode(job, decode_jobs.prepare, upload, specs)
            return facts, lease.claim(images)

    async def draw(
        self, upload: bytes, layers: Sequence[Layer], card: ModelCard, terms: RequestTerms, deadline: float
    ) -> list[bytes]:
        """Return the file that each layer draws on the whole image. Goes before the caller's new uploads.

        `deadline` is on the loop's clock. Raises `ServiceError`.
        """
        pasted, factor = sum(layer.pixels for layer in layers), 1 + FILE_COST * len(layers)
        job = _Job(self._pixels(upload), factor, card, terms, deadline, urgency_gain=1, pasted=pasted)
        return await self._decode(job, decode_jobs.draw, upload, layers)

    async def paint(self, plan: Painting, card: ModelCard, terms: RequestTerms, deadline: float) -> Any:
        """Render masks, with the same priority as `draw`.

        Raises `MasksTooLarge` where the masks take more time or memory than a process has, and other `ServiceError`.
        """
        job = _Job(plan.pixels, 1, card, terms, deadline, urgency_gain=1)
        try:
            return await self._run(job, plan.paint, late="The masks were not rendered before the deadline.")
        except (ImageTooCostly, ImageCorrupt):  # a process without memory may also crash
            raise MasksTooLarge("The masks take more time or memory to render than allowed.") from None

    async def _decode(self, job: _Job, work: Callable[..., Result], upload: bytes, wanted: Any) -> Result:
        """Run `work` on an upload; if it is larger than its header declares, again in a process for large images."""
        if not is_large(job.pixels + job.pasted):
            try:
                return await self._run(job, work, upload, self._limits_of_small, wanted)
            except ImageTooLarge:
                job = replace(job, pixels=self._limits.max_pixels)
        return await self._run(job, work, upload, self._limits, wanted)

    async def _run(self, job: _Job, work: Callable[..., Result], *args: Any, late: str = LATE) -> Result:
        try:
            async with asyncio.timeout_at(job.deadline):
                return await self._pool(job.pixels + job.pasted, job.terms.urgency).run(
                    work,
                    *args,
                    caller=(job.terms.caller, job.card.task),
                    urgency=job.terms.urgency - job.urgency_gain,
                    cost=job.cost,
                    lease=job.lease,
                )
        except TimeoutError:
            raise DeadlineExceeded(late) from None

    def _pixels(self, upload: bytes) -> int:
        """Return the pixels that the header declares; the limit if it cannot be read."""
        kind = decoder.sniff(upload)
        pixels = image_header.pixels(kind, upload) if kind else 0
        return self._limits.max_pixels if pixels is None else min(pixels, self._limits.max_pixels)

    def _pool(self, pixels: int, urgency: int = DEFAULT_URGENCY) -> ProcessPool:
        return self._large if is_large(pixels) or is_background(urgency) else self._small


def is_large(pixels: int) -> bool:
    """Return whether an image of so many pixels is decoded in the processes for large images."""
    return pixels > SMALL_PIXELS
