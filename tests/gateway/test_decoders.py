"""Whose upload is decoded next, and how long it may take."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service import images
from service.cards import ModelCard
from service.errors import DeadlineExceeded, ImageCorrupt, ImageTooCostly, ServiceError, UnsupportedMediaType
from service.gateway.decoders import Decoders
from service.gateway.isolated import Bounds
from service.gateway.isolation import Processes
from service.gateway.terms import Terms
from tests.gateway.pictures import picture

pytestmark = pytest.mark.anyio

LARGE = picture(size=(3000, 2000), kind="JPEG")
SMALL = picture()


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    made = Processes(1, Bounds(memory=1 << 30, cpu_s=20))
    await made.warm()
    yield made
    await made.close()


@pytest.fixture
def decoders(processes: Processes) -> Decoders:
    return Decoders(processes, images.Limits())


def later(seconds: float = 120) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.mark.parametrize("other", ["another caller", "another task"])
async def test_a_flood_of_large_pictures_does_not_hold_up_anothers_small_one(
    other: str, decoders: Decoders, served: dict[str, ModelCard]
) -> None:
    segmenter, classifier = served["tiny-segmenter"], served["tiny-classifier"]
    flood = [asyncio.create_task(decoders.prepare(LARGE, [segmenter], Terms("flooding"), later())) for _ in range(40)]
    await asyncio.sleep(0)
    who = Terms("flooding" if other == "another task" else "quiet")
    card = classifier if other == "another task" else segmenter

    facts, _ = await decoders.prepare(SMALL, [card], who, later())

    assert facts.width == 96
    assert sum(task.done() for task in flood) < 20
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


async def test_a_picture_that_is_drawn_on_goes_before_the_callers_new_ones(
    decoders: Decoders, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-segmenter"]
    order: list[str] = []

    async def new() -> None:
        await decoders.prepare(LARGE, [card], Terms(), later())
        order.append("new")

    waiting = [asyncio.create_task(new()) for _ in range(6)]
    await asyncio.sleep(0)
    await decoders.draw(LARGE, [len_of], card, Terms(), later())
    order.append("drawn")
    await asyncio.gather(*waiting)

    assert order.index("drawn") <= 2


def len_of(image: object) -> bytes:
    return repr(image).encode()


async def test_a_picture_that_is_not_decoded_in_time_is_late_and_its_place_free_again(
    decoders: Decoders, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-classifier"]
    with pytest.raises(DeadlineExceeded):
        await decoders.prepare(LARGE, [card], Terms(), later(0))

    facts, _ = await decoders.prepare(LARGE, [card], Terms(), later())

    assert (facts.width, facts.height) == (3000, 2000)


async def test_a_picture_that_needs_more_memory_than_there_is_costs_too_much(served: dict[str, ModelCard]) -> None:
    tight = Processes(1, Bounds(memory=20 << 20, cpu_s=20))
    limits = images.Limits()
    with pytest.raises(ImageTooCostly, match="memory"):
        await Decoders(tight, limits).prepare(picture(size=(4000, 3000)), [served["tiny-classifier"]], Terms(), later())
    await tight.close()


@pytest.mark.parametrize(("upload", "error"), [(b"\xff\xd8\xff", ImageCorrupt), (b"no picture", UnsupportedMediaType)])
async def test_what_has_no_header_is_refused_by_the_decoder(
    upload: bytes, error: type[ServiceError], decoders: Decoders, served: dict[str, ModelCard]
) -> None:
    with pytest.raises(error):
        await decoders.prepare(upload, [served["tiny-classifier"]], Terms(), later())
