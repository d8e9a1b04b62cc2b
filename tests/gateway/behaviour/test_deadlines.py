"""Deadlines, fairness and rejections as a caller sees them, over real HTTP if time or a connection matters."""

import asyncio
import time

import httpx
import pytest

from service.gateway.components import Components
from tests.gateway.conftest import Running, app_of, at_the_model, components_of, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes, json_body

pytestmark = pytest.mark.anyio

MODEL = "tiny-classifier"


def gateway_of(client: httpx.AsyncClient) -> Components:
    return components_of(app_of(client))


async def test_an_answer_that_does_not_come_in_the_time_asked_for_is_a_504_at_that_time(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    started = time.perf_counter()

    response = await client.post("/v1/classify", content=image_bytes(), headers={"Request-Timeout": "0.7"})

    elapsed = time.perf_counter() - started
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert 0.69 <= elapsed < 30, "the stress tests allow 50 ms on a quiet machine"


@pytest.mark.parametrize("value", ["soon", "0", "-1", "61", "1e1"])
async def test_a_time_that_cannot_be_is_refused_before_the_body_is_read(
    value: str, client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    response = await client.post("/v1/classify", content=image_bytes(), headers={"Request-Timeout": value})

    assert (response.status_code, response.json()["code"]) == (400, "invalid_header")
    assert response.json()["errors"][0]["parameter"] == "Request-Timeout"
    assert fake.images_for(MODEL) == 0


async def test_a_body_that_takes_all_the_time_asked_for_is_late_by_itself(client: httpx.AsyncClient) -> None:
    async def body() -> object:
        yield b"\x89"
        await asyncio.Event().wait()

    response = await client.post("/v1/classify", content=body(), headers={"Request-Timeout": "0.2"})  # type: ignore[arg-type]

    assert (response.status_code, response.json()["code"]) == (408, "upload_timeout")


async def test_of_several_pictures_those_in_time_are_answered(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    fake.next.extend(["answer", "slow", "slow"])

    response = await client.post(
        "/v1/classify", json=json_body(*(image_bytes(seed) for seed in range(8))), headers={"Request-Timeout": "1.5"}
    )

    codes = [result.get("error", {}).get("code") for result in response.json()["results"]]
    assert response.status_code == 200
    assert set(codes) == {"deadline_exceeded", None}


async def test_the_model_server_gets_no_more_than_its_batches_and_the_rest_waits_here(running: Running) -> None:
    async with running(batches_in_flight=1) as client:
        card = gateway_of(client).registry.cards[MODEL]
        queue = gateway_of(client).queues[MODEL]

        assert queue._slots() == card.serving.batch_size * card.serving.workers


async def test_a_lone_request_beside_a_flood_is_answered_before_the_flood_is(
    running: Running, fake: FakeTorchServe
) -> None:
    """Both callers send to one model. The flood takes every slot and waits for more."""
    async with running(batches_in_flight=1, max_in_flight=32) as client:
        components = gateway_of(client)
        slots = components.queues[MODEL]._slots()
        fake.behaviour = "slow"
        flood = [
            asyncio.create_task(
                client.post("/v1/classify", content=image_bytes(seed), headers={"X-Request-ID": "flood"})
            )
            for seed in range(32)
        ]
        await until(lambda: components.queues[MODEL]._taken == slots, 30)
        guest = httpx.ASGITransport(app_of(client), client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=guest, base_url="http://gateway") as other:
            lone = asyncio.create_task(
                other.post("/v1/classify", content=image_bytes(99), headers={"X-Request-ID": "lone"})
            )
            await until(
                lambda: components.queues[MODEL].wait_s("another caller") >= 0 and waiting(components) == 33 - slots, 30
            )
            fake.release.set()
            assert (await lone).status_code == 200
        assert [(await task).status_code for task in flood] == [200] * 32

    order = [request_id for name, request_id in fake.received if request_id in {"flood", "lone"}]
    assert order.index("lone") <= slots + 1


def waiting(components: Components) -> int:
    return sum(len(flow.waiting) for flow in components.queues[MODEL]._flows.values())


async def test_a_request_that_cannot_be_answered_in_time_is_refused_at_once_and_told_when_to_come(
    running: Running, fake: FakeTorchServe
) -> None:
    async with running(batches_in_flight=1) as client:
        components = gateway_of(client)
        slots = components.queues[MODEL]._slots()
        fake.behaviour = "slow"
        held = [asyncio.create_task(client.post("/v1/classify", content=image_bytes(seed))) for seed in range(slots)]
        await until(lambda: components.queues[MODEL]._taken == slots, 30)
        components.queues[MODEL].service_time.mean_s = 3.0

        refused = await client.post("/v1/classify", content=image_bytes(), headers={"Request-Timeout": "1"})
        fake.release.set()

        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 2
        assert [(await task).status_code for task in held] == [200] * slots
        assert fake.images_for(MODEL) == slots


async def test_a_model_that_is_full_refuses_and_says_when_to_come_again(running: Running, fake: FakeTorchServe) -> None:
    async with running(max_in_flight=2, max_images=2) as client:
        fake.behaviour = "slow"
        held = [asyncio.create_task(client.post("/v1/classify", content=image_bytes(seed))) for seed in range(2)]
        await until(lambda: at_the_model(client) == 2, 30)

        refused = await client.post("/v1/classify", content=image_bytes())
        other = asyncio.create_task(client.post("/v1/classify?model=tiny-classifier-b", content=image_bytes()))
        await until(lambda: fake.images_for("tiny-classifier-b"), 30)
        fake.release.set()

        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert [(await task).status_code for task in [*held, other]] == [200] * 3


async def test_queued_pictures_of_a_client_that_leaves_are_never_asked_of_the_model(
    listening: Running, fake: FakeTorchServe
) -> None:
    async with listening(batches_in_flight=1) as client:
        fake.behaviour = "slow"
        images = json_body(*(image_bytes(seed) for seed in range(20)))
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/classify", json=images, timeout=3)
        sent = fake.images_for(MODEL)

        fake.release.set()
        await until(lambda: fake.waiting == 0, 30)
        again = await client.post("/v1/classify", content=image_bytes())

    assert again.status_code == 200
    assert 0 < sent < 20
    assert fake.images_for(MODEL) == sent + 1
