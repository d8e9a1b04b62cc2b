"""Uploads decoded in their turn: by caller and task, by what their headers declare, and never beyond a deadline."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from service.errors import DeadlineExceeded, ImageTooLarge
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.process_pool import ProcessPool
from service.imaging import decoder, image_header
from service.imaging.mask_painting import Painted, Plan, paint
from service.models.cards import ModelCard
from service.tasks import decoded
from service.tasks.decoded import Facts, Layer
from service.tasks.operations import input_of
from service.tasks.output_checks import Pixels

Result = TypeVar("Result")

SMALL_PIXELS: Final = 4_000_000  # and below: decoded in processes that others' large pictures never take
# Of the processes for large pictures. Beside eight callers' 20-megapixel photos on two cores a small one's answer then
# takes 54 ms (p99), with 5 in its place 66 to 91; and large ones take four times as long beside sixteen callers' small.
NICE: Final = 10
COST_PIXELS: Final = 1_000_000  # below it a picture's cost is that of its handing over
DRAWING: Final = 4  # times the cost: nothing is left out of the decoding, and a file is written


@dataclass(frozen=True)
class _Turn:
    """Whose work it is, what it costs for each of its pixels, and until when it is of use, in the loop's time."""

    pixels: int
    times: int
    card: ModelCard
    terms: RequestTerms
    deadline: float
    sooner: int = 0


class DecodeQueue:
    """Decodes uploads in processes, large ones in such as give way, which it ends.

    A flood of one caller's, or of one task's, delays another's by a turn.
    """

    def __init__(self, small: ProcessPool, large: ProcessPool, limits: decoder.ImageLimits) -> None:
        self._small = small
        self._large = large
        self._limits = limits
        self._limits_of_small = replace(limits, max_pixels=min(SMALL_PIXELS, limits.max_pixels))

    def has_room_for(self, upload: bytes) -> bool:
        """Whether this picture would make no other one of its kind wait."""
        return self._pool(self._pixels(upload)).are_quiet

    async def warm(self) -> None:
        """Start all processes, so that no picture waits for one."""
        await asyncio.gather(self._small.warm(), *([self._large.warm()] if is_large(self._limits.max_pixels) else []))

    async def close(self) -> None:
        """Cancel what runs, and end the processes."""
        await asyncio.gather(self._small.close(), self._large.close())

    async def prepare(
        self, upload: bytes, cards: Sequence[ModelCard], terms: RequestTerms, deadline: float
    ) -> tuple[Facts, list[Pixels]]:
        """The facts of an upload and its input for each of the cards, which are of one task, by `deadline`.

        The deadline is in the loop's time. Raises `ServiceError`.
        """
        specs = [input_of(card, terms.question) for card in cards]
        turn = _Turn(self._pixels(upload), 1, cards[0], terms, deadline)
        return await self._read(turn, decoded.prepare, upload, specs)

    async def draw(
        self, upload: bytes, layers: Sequence[Layer], card: ModelCard, terms: RequestTerms, deadline: float
    ) -> list[bytes]:
        """The file that each layer makes of the whole picture, before the same caller's new uploads; as `prepare`."""
        turn = _Turn(self._pixels(upload), DRAWING, card, terms, deadline, sooner=1)
        return await self._read(turn, decoded.draw, upload, layers)

    async def paint(self, plan: Plan, card: ModelCard, terms: RequestTerms, deadline: float) -> Painted:
        """What is painted of a mask, in such a turn as `draw`. Raises `ServiceError`."""
        turn = _Turn(plan.width * plan.height, 1, card, terms, deadline, sooner=1)
        return await self._run(turn, paint, plan)

    async def _read(self, turn: _Turn, work: Callable[..., Result], upload: bytes, wanted: Any) -> Result:
        """What `work` makes of an upload. One that is larger than its header declares begins again among the large."""
        if not is_large(turn.pixels):
            try:
                return await self._run(turn, work, upload, self._limits_of_small, wanted)
            except ImageTooLarge:
                turn = replace(turn, pixels=self._limits.max_pixels)
        return await self._run(turn, work, upload, self._limits, wanted)

    async def _run(self, turn: _Turn, work: Callable[..., Result], *args: Any) -> Result:
        try:
            async with asyncio.timeout_at(turn.deadline):
                return await self._pool(turn.pixels).run(
                    work,
                    *args,
                    caller=(turn.terms.caller, turn.card.task),
                    urgency=turn.terms.urgency - turn.sooner,
                    cost=turn.times * max(1.0, turn.pixels / COST_PIXELS),
                )
        except TimeoutError:
            raise DeadlineExceeded("The picture was not decoded before the deadline.") from None

    def _pixels(self, upload: bytes) -> int:
        """As its header says, the most where that cannot be read."""
        kind = decoder.sniff(upload)
        pixels = image_header.pixels(kind, upload) if kind else 0
        return self._limits.max_pixels if pixels is None else min(pixels, self._limits.max_pixels)

    def _pool(self, pixels: int) -> ProcessPool:
        return self._large if is_large(pixels) else self._small


def is_large(pixels: int) -> bool:
    """Whether the processes for large pictures are for one of so many pixels."""
    return pixels > SMALL_PIXELS
