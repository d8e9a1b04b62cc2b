"""What Prometheus scrapes after known traffic."""

import asyncio
import socket
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import __version__
from service.errors import every_error
from service.tasks import TASKS
from tests.gateway.conftest import Running, app_of, at_the_model, components_of, until
from tests.gateway.fixtures.fake_outputs import BATCH, INFERENCE_MS
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes, json_body

pytestmark = pytest.mark.anyio

NAMES = {
    "resnest_http_requests": {"route", "method", "status"},
    "resnest_http_request_duration_seconds": {"route", "method"},
    "resnest_http_request_processing_seconds": {"route", "method"},
    "resnest_http_requests_in_flight": {"route"},
    "resnest_caller_requests": {"caller", "outcome"},
    "resnest_keys_stale": {"of"},
    "resnest_next_key_expiry_timestamp_seconds": set(),
    "resnest_rate_limit_store_unavailable": set(),
    "resnest_stage_duration_seconds": {"model", "stage"},
    "resnest_upload_bytes": {"route"},
    "resnest_images": {"model", "outcome"},
    "resnest_problems": {"code"},
    "resnest_caller_deadlines": {"route"},
    "resnest_background_rejections": {"route"},
    "resnest_images_offered": {"model"},
    "resnest_decode_processes_lost": {"reason"},
    "resnest_gateway_restarts": set(),
    "resnest_batch_size": {"model"},
    "resnest_batch_size_limit": {"model"},
    "resnest_images_in_halved_batches": {"model"},
    "resnest_cache_lookups": {"outcome"},
    "resnest_cache_bytes": set(),
    "resnest_shared_memory_bytes": set(),
    "resnest_images_sent": {"model", "transport"},
    "resnest_inference_in_flight": {"model"},
    "resnest_workers_ready": {"model"},
    "resnest_workers_configured": {"model"},
    "resnest_circuit_breakers": {"model", "state"},
    "resnest_retries": {"model", "outcome"},
    "resnest_version_share": {"model", "family", "version"},
    "resnest_traffic_stale": set(),
    "resnest_model_reload_failed": set(),
    "resnest_shadow_images": {"family", "version", "outcome"},
    "resnest_shadow_agreement": {"family", "version"},
    "resnest_model_ready": {"model"},
    "resnest_model_refused": {"model"},
    "resnest_replicas_mismatched": {"model"},
    "resnest_ready": set(),
    "resnest_build_info": {"version", "host"},
    "resnest_model_info": {"model", "version", "task", "precision", "engine", "device"},
    "resnest_worker_restarts": {"model", "cause"},
    "resnest_model_busy_seconds": {"model"},
    "resnest_model_last_success_timestamp_seconds": {"model"},
    "resnest_inference_in_flight_limit": set(),
    "resnest_cache_limit_bytes": set(),
    "resnest_shared_memory_limit_bytes": set(),
}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(client: httpx.AsyncClient) -> Samples:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def test_the_names_and_labels_are_those_agreed(client: httpx.AsyncClient) -> None:
    await client.post("/v1/segment", content=image_bytes())
    await client.get("/nowhere")

    response = await client.get("/metrics")

    families = [each for each in text_string_to_metric_families(response.text) if not each.name.startswith("process_")]
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert {family.name for family in families} == set(NAMES)
    for family in families:
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        assert labels == NAMES[family.name], family.name


async def test_what_a_lone_picture_leaves_behind(client: httpx.AsyncClient) -> None:
    content = image_bytes()
    await client.post("/v1/segment", content=content)

    found = await samples(client)

    model = "tiny-segmenter"
    assert value(found, "resnest_http_requests_total", route="/v1/segment", method="POST", status="200") == 1
    assert value(found, "resnest_http_request_duration_seconds_count", route="/v1/segment", method="POST") == 1
    assert value(found, "resnest_http_requests_in_flight", route="/v1/segment") == 0
    assert value(found, "resnest_upload_bytes_sum", route="/v1/segment") == len(content)
    assert value(found, "resnest_images_total", model=model, outcome="ok") == 1
    assert value(found, "resnest_batch_size_sum", model=model) == BATCH
    assert value(found, "resnest_inference_in_flight", model=model) == 0
    assert value(found, "resnest_stage_duration_seconds_sum", model=model, stage="inference") == INFERENCE_MS / 1000
    for stage in ("decode", "queue", "inference", "encode"):
        assert value(found, "resnest_stage_duration_seconds_count", model=model, stage=stage) == 1
    assert value(found, "resnest_stage_duration_seconds_count", model="", stage="upload") == 1
    assert value(found, "resnest_build_info", version=__version__, host=socket.gethostname()) == 1
    assert time.time() - value(found, "resnest_model_last_success_timestamp_seconds", model=model) < 60
    assert value(found, "resnest_model_busy_seconds_total", model=model) == INFERENCE_MS / 1000 / BATCH


async def test_pictures_are_counted_by_model_and_outcome(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    models = "model=tiny-classifier&model=tiny-classifier-b"
    fake.by_model["tiny-classifier-b"] = "queue_full"
    await client.post(f"/v1/classify?{models}", json=json_body(image_bytes(1), CORRUPT, image_bytes(2)))

    found = await samples(client)

    expected = {
        ("tiny-classifier", "ok"): 2,
        ("tiny-classifier", "image_corrupt"): 1,
        ("tiny-classifier-b", "overloaded"): 2,
        ("tiny-classifier-b", "image_corrupt"): 1,
    }
    counted = {
        (dict(labels)["model"], dict(labels)["outcome"]): amount
        for (name, labels), amount in found.items()
        if name == "resnest_images_total" and (amount or dict(labels)["outcome"] == "ok")
    }
    assert counted == expected | {(name, "ok"): 0 for name in ("tiny-classifier-b", "tiny-detector", "tiny-segmenter")}


async def test_every_code_status_and_outcome_has_its_series_from_the_start(client: httpx.AsyncClient) -> None:
    found = await samples(client)

    assert {value(found, "resnest_problems_total", code=error.code()) for error in every_error()} == {0}
    for status in ("200", "429", "500", "503", "504"):
        assert value(found, "resnest_http_requests_total", route="/v1/segment", method="POST", status=status) == 0
    for outcome in ("deadline_exceeded", "internal", "backend_unavailable", "caller_deadline_exceeded"):
        assert value(found, "resnest_images_total", model="tiny-segmenter", outcome=outcome) == 0
    for cause in ("process", "server"):
        assert value(found, "resnest_worker_restarts_total", model="tiny-segmenter", cause=cause) == 0


async def test_limits_are_gauges(running: Running) -> None:
    async with running(max_in_flight=48, cache_bytes=1000, shared_memory_bytes=0) as client:
        found = await samples(client)

    assert value(found, "resnest_inference_in_flight_limit") == 48
    assert value(found, "resnest_cache_limit_bytes") == 1000
    assert value(found, "resnest_shared_memory_limit_bytes") == 0


async def test_a_probe_that_is_answered_503_is_no_problem_of_a_caller(running: Running, fake: FakeTorchServe) -> None:
    async with running() as client:
        components_of(app_of(client)).readiness.drain()
        assert (await client.get("/readyz")).status_code == 503
        found = await samples(client)

    assert value(found, "resnest_problems_total", code="draining") == 0
    assert value(found, "resnest_http_requests_total", route="/readyz", method="GET", status="503") == 1


async def test_a_deadline_that_the_caller_shortened_is_told_apart_from_the_models(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    await client.post("/v1/segment", content=image_bytes(), headers={"Request-Timeout": "0.2"})
    found = await samples(client)

    assert value(found, "resnest_caller_deadlines_total", route="/v1/segment") == 1
    assert value(found, "resnest_images_total", model="tiny-segmenter", outcome="caller_deadline_exceeded") == 1
    assert value(found, "resnest_images_total", model="tiny-segmenter", outcome="deadline_exceeded") == 0


async def test_a_replaced_worker_process_is_counted(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    components = components_of(app_of(client))
    card = components.registry.cards["tiny-segmenter"]
    before = fake.workers[card.name]
    for workers in (before, [], [{"status": "READY", "pid": 4711}]):
        fake.workers[card.name] = workers
        await components.backend.workers(card)
    found = await samples(client)

    assert value(found, "resnest_worker_restarts_total", model=card.name, cause="process") == 1
    assert value(found, "resnest_worker_restarts_total", model=card.name, cause="server") == 0


async def test_second_tries_are_counted_by_what_came_of_them(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    fake.next.extend(["reset", "answer", "worker_died", "reset"])
    for _ in range(2):
        await client.post("/v1/classify", content=image_bytes())

    found = await samples(client)

    for outcome in ("answered", "failed"):
        assert value(found, "resnest_retries_total", model="tiny-classifier", outcome=outcome) == 1


async def test_what_is_in_flight_shows_while_it_is(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    fake.behaviour = "slow"
    held = asyncio.create_task(
        client.post("/v1/classify", json=json_body(image_bytes(1), image_bytes(2), image_bytes(3)))
    )
    await until(lambda: at_the_model(client) == 3, 30)

    during = await samples(client)
    fake.release.set()
    await held
    after = await samples(client)

    assert value(during, "resnest_inference_in_flight", model="tiny-classifier") == 3
    assert value(during, "resnest_http_requests_in_flight", route="/v1/classify") == 1
    assert value(during, "resnest_http_requests_in_flight", route="/metrics") == 1
    assert value(after, "resnest_inference_in_flight", model="tiny-classifier") == 0
    assert value(after, "resnest_http_requests_in_flight", route="/v1/classify") == 0


async def test_pictures_refused_at_the_door_are_counted(running: Running, fake: FakeTorchServe) -> None:
    async with running(max_in_flight=3, max_images=3) as client:
        fake.behaviour = "slow"
        held = asyncio.create_task(client.post("/v1/classify", json=json_body(image_bytes(1), image_bytes(2))))
        await until(lambda: at_the_model(client) == 2, 30)
        await client.post("/v1/classify", json=json_body(image_bytes(1), image_bytes(2)))
        fake.release.set()
        await held

        found = await samples(client)

    assert value(found, "resnest_images_total", model="tiny-classifier", outcome="overloaded") == 2
    assert value(found, "resnest_images_total", model="tiny-classifier", outcome="ok") == 2
    assert value(found, "resnest_images_offered_total", model="tiny-classifier") == 4
    assert value(found, "resnest_images_offered_total", model="tiny-segmenter") == 0
    assert value(found, "resnest_problems_total", code="overloaded") == 1


async def test_no_caller_can_make_new_series(client: httpx.AsyncClient) -> None:
    async def visit(number: int) -> None:
        await client.get(f"/nowhere/{number}")
        await client.get(f"/v1/models/absent{number}")
        await client.get(f"/problems/nothing{number}")
        await client.request(f"VERB{number}", "/livez")
        await client.post(f"/v1/classify?model=absent{number}", content=image_bytes())
        await client.post("/v1/classify", content=image_bytes(), headers={"X-Request-ID": f"id{number}"})
        await client.post("/v1/classify", files={f"file{number}": image_bytes()})

    await samples(client)
    await visit(0)
    before = set(await samples(client))
    for number in range(1, 20):
        await visit(number)

    assert set(await samples(client)) == before
    of_tasks = {endpoint.path for task in TASKS.values() for endpoint in task.endpoints}
    assert {dict(labels).get("route") for _, labels in before} - {None} == of_tasks | {
        "unmatched",
        "/livez",
        "/metrics",
        "/v1/models/{name}",
        "/problems/{code}",
    }
