"""`POST /v1/segment` of large images: a decode process paints the mask, and the answer is the same."""

import asyncio
import base64
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from service.gateway.uploads.decode_queue import is_large
from service.gateway.uploads.process_pool import ProcessPool
from service.imaging import decoder, preprocess
from service.models.cards import ModelCard
from service.tasks.base import DecodedFacts, Drawn, ModelOutput
from service.tasks.decode_jobs import draw
from service.tasks.segmentation.schema import SegmentQuery, SegmentResponse
from service.tasks.segmentation.segment import plan
from tests.gateway.conftest import Running, app_of, at_the_model, components_of, until
from tests.gateway.fixtures.fake_outputs import expected_mask, expected_scores
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.stores import write_store

pytestmark = pytest.mark.anyio

SIZE = (2600, 1700)
LARGE = image_bytes(3, size=SIZE, kind="JPEG")
LONG_DEADLINE = {"Request-Timeout": "60"}


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-segmenter"]


def result_in_this_process(card: ModelCard, query: SegmentQuery) -> dict[str, Any]:
    """Return the members of the large image's result, computed in this process."""
    decoded = decoder.decode(LARGE, decoder.ImageLimits(), needed=preprocess.needed_side(card.input))
    pixels = preprocess.prepare(card.input, decoded.image)
    arrays = {"mask": expected_mask(card, pixels), "class_scores": expected_scores(card, pixels)}
    answer = ModelOutput(arrays | {"confidence": pixels[..., 1]}, 1, 0.0, 0.0)
    facts, rendering = DecodedFacts(*SIZE, "JPEG", "RGB", ()), plan([card], query)
    files = draw(LARGE, decoder.ImageLimits(), rendering.layers(card, facts, answer))
    return rendering.members(card, facts, answer, Drawn(files))


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"mask": "none"},
        {"mask": "rle"},
        {"mask": "polygons", "tolerance": "20"},
        {"mask": "polygons", "classes": "cat"},
        {"mask": "png", "classes": "cat", "confidence": "true"},
        {"overlay": "webp", "confidence": "true"},
    ],
)
async def test_a_large_pictures_mask_is_told_byte_for_byte_as_this_process_would(
    query: dict[str, str], client: httpx.AsyncClient, card: ModelCard
) -> None:
    response = await client.post("/v1/segment", params=query, content=LARGE, headers=LONG_DEADLINE)

    expected = result_in_this_process(
        card, SegmentQuery.model_validate(query | ({"classes": ["cat"]} if "classes" in query else {}))
    )
    SegmentResponse.model_validate(response.json())
    members = orjson.dumps(expected, option=orjson.OPT_SERIALIZE_NUMPY)
    assert is_large(SIZE[0] * SIZE[1])
    assert members[1:-1] in response.content


@contextmanager
def paused(processes: ProcessPool) -> Iterator[None]:
    pids = [worker.process.pid or 0 for worker in processes._all]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_large_mask_is_painted_by_the_processes_for_large_pictures_and_a_small_one_by_none(
    running: Running, fake: FakeTorchServe
) -> None:
    async with running() as client:
        fake.by_model["tiny-segmenter"] = "slow"
        large = components_of(app_of(client)).decode_queue._large
        requests = [asyncio.create_task(segment(client, content)) for content in (LARGE, image_bytes())]
        await until(lambda: at_the_model(client, "tiny-segmenter") == 2, 60)
        await until(lambda: len(large._idle) == len(large._all) == 1, 60)
        with paused(large):
            fake.by_model["tiny-segmenter"] = "answer"
            fake.release.set()
            small = await requests[1]
            await until(lambda: not large._idle, 60)
            await asyncio.sleep(0)
            assert not requests[0].done()
        painted = await requests[0]

    assert (small.status_code, painted.status_code) == (200, 200)


async def test_a_large_mask_that_is_not_painted_there_in_time_is_late_and_not_painted_here(
    running: Running, fake: FakeTorchServe, tmp_path: Path
) -> None:
    short_deadline = {"serving": {"deadline_s": 3}}
    async with running(
        model_store=write_store(tmp_path, "tiny-segmenter", weights=False, changes=short_deadline)
    ) as client:
        fake.by_model["tiny-segmenter"] = "slow"
        large = components_of(app_of(client)).decode_queue._large
        request = asyncio.create_task(client.post("/v1/segment", content=LARGE))
        await until(lambda: at_the_model(client, "tiny-segmenter") == 1, 60)
        await until(lambda: len(large._idle) == len(large._all) == 1, 60)
        with paused(large):
            fake.by_model["tiny-segmenter"] = "answer"
            fake.release.set()
            response = await request

    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


async def segment(client: httpx.AsyncClient, content: bytes) -> httpx.Response:
    return await client.post("/v1/segment", content=content, headers=LONG_DEADLINE)


@pytest.mark.parametrize(
    ("query", "name", "accept"),
    [
        ({}, "mask", "image/png"),
        ({"confidence": "true"}, "mask", "image/png"),
        ({"confidence": "true", "overlay": "webp"}, "overlay", "image/webp"),
    ],
)
@pytest.mark.parametrize("content", [LARGE, image_bytes()])
async def test_a_file_alone_is_the_one_that_json_tells(
    content: bytes, query: dict[str, str], name: str, accept: str, client: httpx.AsyncClient
) -> None:
    request: dict[str, Any] = {"url": "/v1/segment", "params": query, "content": content}
    document = await client.post(**request, headers=LONG_DEADLINE)
    alone = await client.post(**request, headers=LONG_DEADLINE | {"Accept": accept})

    assert (alone.status_code, alone.headers["content-type"]) == (200, accept)
    assert alone.content == base64.b64decode(document.json()["results"][0][name]["data"])
