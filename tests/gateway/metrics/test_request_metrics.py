"""What is counted of requests: offered images, failures that callers cause, and times without their networks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from service.config.api_keys import digest
from tests.gateway.conftest import Running, at_the_model, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.metrics.test_definitions import samples, value

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
async def test_an_offered_image_is_counted_once_whether_it_is_admitted_or_rejected_and_not_if_it_is_cached(
    running: Running, fake: FakeTorchServe, cache_bytes: int
) -> None:
    """The autoscaler reads this. A rejection that counts twice, or for other models, asks for idle workers."""
    async with running(max_in_flight=1, max_images=1, cache_bytes=cache_bytes) as client:
        await client.post("/v1/classify", content=image_bytes(1))
        before = await samples(client)
        await client.post("/v1/classify", content=image_bytes(1))
        fake.behaviour = "slow"
        held = asyncio.create_task(client.post("/v1/classify", content=image_bytes(2)))
        await until(lambda: at_the_model(client) == 1, 30)
        rejected = await client.post("/v1/classify", content=image_bytes(3))
        fake.release.set()
        await held
        found = await samples(client)

    assert rejected.status_code == 503
    assert value(before, "resnest_images_offered_total", model="tiny-classifier") == 1
    assert value(found, "resnest_images_offered_total", model="tiny-classifier") == (3 if cache_bytes else 4)
    assert value(found, "resnest_images_offered_total", model="tiny-segmenter") == 0


@pytest.mark.parametrize(("priority", "counted"), [("u=7", 1), ("u=3", 0)])
async def test_a_rejected_background_request_is_told_apart(
    running: Running, fake: FakeTorchServe, priority: str, counted: int
) -> None:
    async with running(max_in_flight=1, max_images=1) as client:
        fake.behaviour = "slow"
        held = asyncio.create_task(client.post("/v1/classify", content=image_bytes(1)))
        await until(lambda: at_the_model(client) == 1, 30)
        rejected = await client.post("/v1/classify", content=image_bytes(2), headers={"Priority": priority})
        fake.release.set()
        await held
        found = await samples(client)

    assert rejected.status_code == 503
    assert value(found, "resnest_background_rejections_total", route="/v1/classify") == counted
    assert value(found, "resnest_problems_total", code="overloaded") == 1


async def test_the_next_end_of_a_key_is_reported_at_each_scrape(running: Running) -> None:
    keys = f"boss admin {digest('boss')}\ntemp admin {digest('temp')} expires=2099-12-30"
    async with running(keys=keys) as client:
        client.headers["X-API-Key"] = "boss"
        found = await samples(client)

    end = datetime(2099, 12, 31, tzinfo=UTC).timestamp()
    assert value(found, "resnest_next_key_expiry_timestamp_seconds") == end


async def test_a_slow_upload_is_no_part_of_the_time_that_objectives_judge(client: httpx.AsyncClient) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        content = image_bytes()
        yield content[:10]
        await asyncio.sleep(0.5)
        yield content[10:]

    await client.post("/v1/classify", content=slowly())
    found = await samples(client)

    labels = {"route": "/v1/classify", "method": "POST"}
    whole = value(found, "resnest_http_request_duration_seconds_sum", **labels)
    processing = value(found, "resnest_http_request_processing_seconds_sum", **labels)
    assert whole - processing >= 0.45
    assert value(found, "resnest_http_request_processing_seconds_count", **labels) == 1


async def test_an_upload_that_never_ends_is_no_part_of_it_either(running: Running) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"\xff\xd8"
        await asyncio.sleep(60)

    async with running(upload_timeout_s=0.5) as client:
        late = await client.post("/v1/classify", content=never())
        found = await samples(client)

    labels = {"route": "/v1/classify", "method": "POST"}
    assert late.status_code == 408
    assert value(found, "resnest_http_request_duration_seconds_sum", **labels) >= 0.45
    assert value(found, "resnest_http_request_processing_seconds_sum", **labels) < 0.25
