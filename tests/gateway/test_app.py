"""The app as a whole: its lifespan, and what a crash in it does."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.config.settings import Settings
from service.gateway.access.authorization import AccessMiddleware
from service.gateway.app import ROUTERS, UNMATCHED, create_app, template_finder
from service.gateway.backend.torchserve import Workers
from service.gateway.http.access_log import AccessLog
from service.gateway.http.middleware import ContextMiddleware, CrashMiddleware
from service.gateway.inference.readiness import PROBE_ID
from service.gateway.metrics import Metrics
from service.gateway.routes.images import image_routes, router_of
from service.models.cards import CardError, ModelCard
from service.tasks import PREDICT
from service.tasks.base import ModelOutput, Pixels
from tests.gateway.conftest import Running, app_of, components_of, until
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

PRIVATE = "pr1v4te-bytes-of-an-upload"


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/classify", "/v1/classify"),
        ("/v1/models/resnest50", "/v1/models/{name}"),
        ("/v1/models/a/b", UNMATCHED),
        ("/problems/overloaded", "/problems/{code}"),
        ("/v1/classify/", UNMATCHED),
        ("/V1/CLASSIFY", UNMATCHED),
        ("", UNMATCHED),
    ],
)
def test_a_path_is_labelled_by_its_routes_template(path: str, template: str) -> None:
    assert template_finder([router_of(image_routes()), *ROUTERS])(path) == template


def test_a_store_that_cannot_be_served_is_a_card_error(tmp_path: Path) -> None:
    with pytest.raises(CardError):
        create_app(Settings(model_store=tmp_path))


async def test_two_apps_in_one_process_count_for_themselves(running: Running) -> None:
    async with running() as one, running() as other:
        await one.get("/livez")
        own, foreign = (await one.get("/metrics")).text, (await other.get("/metrics")).text

    assert components_of(app_of(one)) is not components_of(app_of(other))
    assert 'route="/livez"' in own
    assert 'route="/livez"' not in foreign


async def test_the_end_of_an_app_leaves_no_thread_and_no_task(running: Running) -> None:
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())

    async with running() as client:
        await client.post("/v1/segment", content=image_bytes())

    assert threading.active_count() <= threads
    await until(lambda: len(asyncio.all_tasks()) <= tasks)  # the fake server's tasks end with their connections


class Crashing:
    """A backend with a bug."""

    async def predict(
        self, card: ModelCard, image: Pixels, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        if request_id == PROBE_ID:
            return ModelOutput({"scores": np.zeros(7, np.float32)}, 1, 0.0, 0.0)
        try:
            raise KeyError(PRIVATE)
        except KeyError as error:
            raise RuntimeError(f"cannot handle {PRIVATE}") from error

    def shares_memory(self, card: ModelCard) -> bool:
        return False

    async def workers(self, card: ModelCard) -> Workers:
        return Workers(frozenset({1}), 1)

    async def forget(self, card: ModelCard) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_a_crash_tells_and_logs_nothing_of_its_message_but_where_it_was(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(Crashing()) as client:
        with caplog.at_level(logging.DEBUG):
            response = await client.post("/v1/classify", content=image_bytes(), headers={"X-Request-ID": "crash-1"})
        alive = await client.get("/livez")

    body = response.json()
    assert (response.status_code, body["code"], body["request_id"]) == (500, "internal", "crash-1")
    assert PRIVATE not in response.text
    assert "Traceback" not in response.text
    assert "RuntimeError" not in response.text
    assert PRIVATE not in caplog.text
    (record,) = [record for record in caplog.records if "crash" in record.getMessage()]
    fields = vars(record)
    assert fields["request_id"] == "crash-1"
    assert record.getMessage() == "crash: RuntimeError"
    assert "KeyError" in fields["exception"]
    assert "test_app.py" in fields["exception"]
    assert alive.status_code == 200


async def test_a_crash_behind_fastapis_routing_is_a_problem_too(running: Running) -> None:
    async with running() as client:
        components = components_of(app_of(client))
        components.versions = None  # type: ignore[assignment]
        response = await client.get("/v1/models")
        text = (await client.get("/metrics")).text

    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert 'resnest_http_requests_total{method="GET",route="/v1/models",status="500"} 1.0' in text


async def test_a_crash_at_the_door_is_a_problem_too(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        """A middleware with a bug."""

        async def __call__(self, *_: Any) -> None:
            raise RuntimeError(PRIVATE)

    transport = httpx.ASGITransport(
        ContextMiddleware(
            CrashMiddleware(Broken(), Metrics()), lambda: False, Metrics(), lambda path: path, AccessLog()
        )
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/v1/models")

    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert PRIVATE not in response.text + caplog.text


def test_the_door_is_within_what_turns_a_crash_into_a_problem(store: Path) -> None:
    order = [str(each.cls) for each in create_app(Settings(model_store=store)).user_middleware]

    assert order.index(str(ContextMiddleware)) < order.index(str(CrashMiddleware)) < order.index(str(AccessMiddleware))


async def test_a_crash_gives_the_places_and_the_memory_back(running: Running) -> None:
    async with running(Crashing()) as client:
        await client.post("/v1/classify", content=image_bytes())
        components = components_of(app_of(client))
        text = (await client.get("/metrics")).text

    assert components.body_buffer.held == 0
    assert 'resnest_inference_in_flight{model="tiny-classifier"} 0.0' in text
    assert 'resnest_http_requests_total{method="POST",route="/v1/classify",status="500"} 1.0' in text
