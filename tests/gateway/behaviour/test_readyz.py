"""Readiness as an orchestrator sees it: /readyz, /livez and the metrics."""

import asyncio

import httpx
import pytest

from service.gateway.backend.circuit_breaker import FAILURES
from service.gateway.routes.schemas import Ready
from service.models.cards import ModelCard
from service.tasks.shapes import Problem
from tests.gateway.conftest import Running, app_of, components_of, settled, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

MODEL = "tiny-classifier"


async def test_readyz_tells_each_models_state(client: httpx.AsyncClient, served: dict[str, ModelCard]) -> None:
    response = await client.get("/readyz")

    Ready.model_validate(response.json())
    assert response.status_code == 200
    assert response.json()["models"] == {
        name: {
            "state": "ready",
            "workers_ready": 1,
            "workers_configured": 1,
            "answered": True,
            "circuits": {"closed": 1},
        }
        for name in served
    }


async def test_one_model_without_workers_leaves_the_instance_ready_for_the_others(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.workers[MODEL] = []
    await settled(app_of(client))

    ready, strict = await client.get("/readyz"), await client.get("/readyz?require=all")
    metrics = (await client.get("/metrics")).text

    assert (ready.status_code, strict.status_code) == (200, 503)
    assert ready.json()["models"][MODEL]["state"] == "unavailable"
    assert (await client.get("/v2/health/ready")).status_code == 200
    assert (await client.get(f"/v2/models/{MODEL}/ready")).status_code == 503
    assert "resnest_ready 1.0" in metrics
    assert f'resnest_model_ready{{model="{MODEL}"}} 0.0' in metrics
    assert 'resnest_model_ready{model="tiny-segmenter"} 1.0' in metrics


async def test_an_instance_whose_models_all_lack_workers_is_not_ready(
    client: httpx.AsyncClient, fake: FakeTorchServe, served: dict[str, ModelCard]
) -> None:
    for name in served:
        fake.workers[name] = []
    await settled(app_of(client))

    assert (await client.get("/readyz")).status_code == 503
    assert (await client.get("/readyz?require=any")).status_code == 503
    assert "resnest_ready 0.0" in (await client.get("/metrics")).text


async def test_the_operator_may_require_all_models(running: Running, fake: FakeTorchServe) -> None:
    async with running(ready="all") as client:
        fake.workers[MODEL] = []
        await settled(app_of(client))

        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/readyz?require=any")).status_code == 200
        assert "resnest_ready 0.0" in (await client.get("/metrics")).text


async def test_another_requirement_is_a_mistake_in_the_request(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz?require=most")

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")


async def test_strict_readiness_is_a_problem_that_names_the_model_without_workers(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.workers[MODEL] = []
    await settled(app_of(client))

    response = await client.get("/readyz?require=all")

    body = response.json()
    Problem.model_validate(body)
    assert (response.status_code, body["code"]) == (503, "backend_unavailable")
    assert MODEL in body["detail"]
    assert body["models"][MODEL] == {
        "state": "unavailable",
        "workers_ready": 0,
        "workers_configured": 1,
        "answered": False,
        "circuits": {"closed": 1},
    }
    assert body["models"]["tiny-segmenter"]["state"] == "ready"


async def test_readyz_flips_after_the_last_workers_death_and_back(running: Running, fake: FakeTorchServe) -> None:
    async with running(readiness_interval_s=1) as client:
        loop = asyncio.get_running_loop()

        async def status() -> int:
            return (await client.get("/readyz?require=all")).status_code

        for workers, expected in (([], 503), ([{"pid": 101, "status": "READY"}], 200)):
            fake.workers[MODEL] = workers
            changed = loop.time()
            while await status() != expected:
                assert loop.time() - changed < 30
                await asyncio.sleep(0.02)


async def test_a_request_that_finds_no_worker_makes_it_look_before_the_interval(
    running: Running, fake: FakeTorchServe
) -> None:
    async with running(readiness_interval_s=600, ready="all") as client:
        fake.workers[MODEL] = []
        fake.behaviour = "worker_died"

        assert (await client.post("/v1/classify", content=image_bytes())).status_code == 503

        readiness = components_of(app_of(client)).readiness
        await until(lambda: not readiness.ready)


async def test_a_server_that_is_left_alone_shows_in_readyz_and_in_the_metrics(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.behaviour = "nonsense"
    for _ in range(FAILURES):
        assert (await client.post("/v1/classify", content=image_bytes())).status_code == 502
    await settled(app_of(client))

    states = (await client.get("/readyz")).json()["models"]
    metrics = (await client.get("/metrics")).text

    assert states[MODEL]["circuits"] == {"open": 1}
    assert states["tiny-segmenter"]["circuits"] == {"closed": 1}
    assert f'resnest_circuit_breakers{{model="{MODEL}",state="open"}} 1.0' in metrics
    assert f'resnest_circuit_breakers{{model="{MODEL}",state="closed"}} 0.0' in metrics


async def test_the_models_state_is_in_the_metrics(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    before = (await client.get("/metrics")).text
    fake.workers[MODEL] = []
    await settled(app_of(client))
    after = (await client.get("/metrics")).text

    assert f'resnest_workers_ready{{model="{MODEL}"}} 1.0' in before
    assert "resnest_ready 1.0" in before
    assert f'resnest_workers_ready{{model="{MODEL}"}} 0.0' in after
    assert f'resnest_workers_configured{{model="{MODEL}"}} 1.0' in after


async def test_a_draining_instance_is_not_ready_but_answers_and_closes_connections(client: httpx.AsyncClient) -> None:
    components_of(app_of(client)).readiness.drain()

    ready = await client.get("/readyz")
    answer = await client.post("/v1/classify", content=image_bytes())

    assert (ready.status_code, ready.json()["code"]) == (503, "draining")
    assert "resnest_ready 0.0" in (await client.get("/metrics")).text
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"


async def test_livez_does_not_ask_the_model_server(running: Running, fake: FakeTorchServe) -> None:
    fake.workers.clear()
    async with running() as client:
        response = await client.get("/livez")

    assert (response.status_code, response.json()) == (200, {"status": "live"})
