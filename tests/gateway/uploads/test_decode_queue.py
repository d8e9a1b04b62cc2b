"""The order in which uploads are decoded, their deadlines, and the processes for large images."""

import asyncio
import io
import os
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from service.errors import (
    DeadlineExceeded,
    ImageCorrupt,
    ImageTooCostly,
    ImageTooLarge,
    MasksTooLarge,
    ServiceError,
    UnsupportedMediaType,
)
from service.gateway.scheduling.background import BACKGROUND
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.decode_queue import NICE, DecodeQueue
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from service.imaging import decoder, image_header
from service.imaging.mask_painting import MaskForm, MaskPlan, paint
from service.models.cards import ModelCard
from service.tasks.base import Layer
from tests.gateway.fixtures import hostile_work
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

LARGE = image_bytes(size=(3000, 2000), kind="JPEG")
SMALL = image_bytes()


@pytest.fixture
async def decode_queue() -> AsyncIterator[DecodeQueue]:
    small, large = (ProcessPool(1, ProcessLimits(memory=1 << 30, cpu_s=20), nice=nice) for nice in (0, NICE))
    made = DecodeQueue(small, large, decoder.ImageLimits())
    await made.warm()
    yield made
    await made.close()


def later(seconds: float = 120) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.mark.parametrize("other", ["another caller", "another task"])
async def test_a_flood_of_large_pictures_does_not_hold_up_anothers_small_one(
    other: str, decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    segmenter, classifier = served["tiny-segmenter"], served["tiny-classifier"]
    flooding = RequestTerms("flooding")
    flood = [asyncio.create_task(decode_queue.prepare(LARGE, [segmenter], flooding, later())) for _ in range(40)]
    await asyncio.sleep(0)
    terms = flooding if other == "another task" else RequestTerms("quiet")
    card = classifier if other == "another task" else segmenter

    facts, _ = await decode_queue.prepare(SMALL, [card], terms, later())

    assert facts.width == 96
    assert sum(task.done() for task in flood) < 20
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


def lying(side: int) -> bytes:
    """Return a GIF that declares a small screen and has a large frame."""
    out = io.BytesIO()
    Image.new("P", (side, side)).save(out, "GIF")
    data = bytearray(out.getvalue())
    data[6:10] = struct.pack("<HH", 96, 72)
    return bytes(data)


async def test_a_picture_that_is_larger_than_its_header_declares_is_decoded_among_the_large_ones(
    decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    upload, card = lying(2100), served["tiny-classifier"]
    assert image_header.pixels("GIF", upload) == 96 * 72

    facts, _ = await decode_queue.prepare(upload, [card], RequestTerms(), later())
    (found,) = await decode_queue.draw(upload, [Layer(niceness)], card, RequestTerms(), later())

    assert (facts.width, facts.height) == (2100, 2100)
    assert int(found) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICE, 19)


async def test_a_picture_that_is_too_large_whatever_its_header_declares_is_told_the_limit(
    served: dict[str, ModelCard],
) -> None:
    small, large = (ProcessPool(1, ProcessLimits(memory=1 << 30, cpu_s=20), nice=nice) for nice in (0, NICE))
    decode_queue = DecodeQueue(small, large, decoder.ImageLimits(max_pixels=4_200_000))
    with pytest.raises(ImageTooLarge) as error:
        await decode_queue.prepare(lying(2100), [served["tiny-classifier"]], RequestTerms(), later())
    await decode_queue.close()

    assert error.value.limit == 4_200_000


async def test_a_small_picture_is_decoded_while_every_process_for_large_ones_is_held(
    decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-classifier"]
    held = asyncio.create_task(decode_queue.draw(LARGE, [Layer(nap)], card, RequestTerms(), later()))
    await asyncio.sleep(0)
    assert not decode_queue.has_room_for_background

    facts, _ = await decode_queue.prepare(SMALL, [card], RequestTerms(), later())

    assert facts.width == 96
    assert not held.done()
    held.cancel()
    await asyncio.wait([held])


async def test_background_work_gives_way_too(decode_queue: DecodeQueue, served: dict[str, ModelCard]) -> None:
    terms = RequestTerms(urgency=BACKGROUND)

    (found,) = await decode_queue.draw(SMALL, [Layer(niceness)], served["tiny-segmenter"], terms, later())

    assert int(found) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICE, 19)


@pytest.mark.parametrize(("upload", "nice"), [(SMALL, 0), (LARGE, NICE)])
async def test_the_processes_for_large_pictures_give_way(
    upload: bytes, nice: int, decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    (found,) = await decode_queue.draw(upload, [Layer(niceness)], served["tiny-segmenter"], RequestTerms(), later())

    assert int(found) == min(os.getpriority(os.PRIO_PROCESS, 0) + nice, 19)


async def test_a_small_picture_with_many_pixels_to_paste_is_drawn_among_the_large_ones(
    decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    layers = [Layer(niceness, pixels=4_000_001)]

    (found,) = await decode_queue.draw(SMALL, layers, served["tiny-detector"], RequestTerms(), later())

    assert int(found) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICE, 19)


async def test_the_pixels_that_are_pasted_and_each_file_are_a_part_of_the_cost(
    decode_queue: DecodeQueue, served: dict[str, ModelCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[float] = []

    async def run(_pool: ProcessPool, *_args: object, cost: float, **_others: object) -> list[bytes]:
        costs.append(cost)
        return []

    monkeypatch.setattr(ProcessPool, "run", run)
    for layers in ([Layer(niceness)], [Layer(niceness), Layer(niceness)], [Layer(niceness, 64_000_000)]):
        await decode_queue.draw(SMALL, layers, served["tiny-detector"], RequestTerms(), later())

    assert costs == [4, 7, 4 + 64]


@dataclass(frozen=True)
class Painted:
    """Masks whose painting does what a function of `hostile_work` does."""

    harm: str
    pixels: int = 5_000_000

    def paint(self) -> None:
        getattr(hostile_work, self.harm)()


@pytest.mark.parametrize("harm", ["crash", "exhaust"])
async def test_masks_that_a_process_cannot_paint_are_too_large_and_no_fault_of_the_service(
    harm: str, decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    with pytest.raises(MasksTooLarge, match="more time or memory"):
        await decode_queue.paint(Painted(harm), served["tiny-detector"], RequestTerms(), later())


async def test_masks_that_are_not_painted_in_time_are_late(
    decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    with pytest.raises(DeadlineExceeded, match="masks were not rendered"):
        await decode_queue.paint(Painted("hang"), served["tiny-detector"], RequestTerms(), later(0.2))


@pytest.mark.parametrize("form", ["png", "rle", "polygons"])
async def test_a_mask_that_is_painted_in_a_process_is_that_of_a_thread(
    form: MaskForm, decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (40, 60), dtype=np.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    plan = MaskPlan(3000, 2000, mask, np.ones(3, np.float32), colours, form, frozenset({0, 2}), confidence=mask)

    assert await decode_queue.paint(plan, served["tiny-segmenter"], RequestTerms(), later()) == paint(plan)


async def test_a_picture_that_is_drawn_on_goes_before_the_callers_new_ones(
    decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-segmenter"]
    order: list[str] = []

    async def new() -> None:
        await decode_queue.prepare(LARGE, [card], RequestTerms(), later())
        order.append("new")

    waiting = [asyncio.create_task(new()) for _ in range(6)]
    await asyncio.sleep(0)
    await decode_queue.draw(LARGE, [Layer(len_of)], card, RequestTerms(), later())
    order.append("drawn")
    await asyncio.gather(*waiting)

    assert order.index("drawn") <= 2


def len_of(image: object) -> bytes:
    return repr(image).encode()


def niceness(_image: object) -> bytes:
    return str(os.nice(0)).encode()


def nap(_image: object) -> bytes:
    time.sleep(600)
    return b""


async def test_a_picture_that_is_not_decoded_in_time_is_late_and_its_place_free_again(
    decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-classifier"]
    with pytest.raises(DeadlineExceeded):
        await decode_queue.prepare(LARGE, [card], RequestTerms(), later(0))

    facts, _ = await decode_queue.prepare(LARGE, [card], RequestTerms(), later())

    assert (facts.width, facts.height) == (3000, 2000)


async def test_a_picture_that_needs_more_memory_than_there_is_costs_too_much(served: dict[str, ModelCard]) -> None:
    tight = ProcessPool(1, ProcessLimits(memory=20 << 20, cpu_s=20))
    decode_queue = DecodeQueue(ProcessPool(1, ProcessLimits(memory=1 << 30, cpu_s=20)), tight, decoder.ImageLimits())
    with pytest.raises(ImageTooCostly, match="memory"):
        await decode_queue.prepare(image_bytes(size=(4000, 3000)), [served["tiny-classifier"]], RequestTerms(), later())
    await decode_queue.close()


@pytest.mark.parametrize(("upload", "error"), [(b"\xff\xd8\xff", ImageCorrupt), (b"no picture", UnsupportedMediaType)])
async def test_what_has_no_header_is_refused_by_the_decoder(
    upload: bytes, error: type[ServiceError], decode_queue: DecodeQueue, served: dict[str, ModelCard]
) -> None:
    with pytest.raises(error):
        await decode_queue.prepare(upload, [served["tiny-classifier"]], RequestTerms(), later())
