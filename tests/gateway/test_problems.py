"""Every failure is a problem document, and every code can be met."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest

from service.cards import ModelCard
from service.errors import every_error
from service.gateway.backend import Answer, Pixels, Workers
from service.schemas import Problem
from tests.gateway.conftest import Running, app_of, parts_of
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.pictures import CORRUPT, in_json, of_floats, picture

pytestmark = pytest.mark.anyio

PRIVATE = "pr1v4te-bytes-of-an-upload"

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}

Meeting = Callable[[httpx.AsyncClient, FakeTorchServe], Awaitable[httpx.Response]]


def posting(content: bytes | None = None, query: str = "", headers: dict[str, str] | None = None) -> Meeting:
    async def meet(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
        body = picture() if content is None else content
        return await client.post(f"/v1/classify{query}", content=body, headers=headers)

    return meet


def getting(path: str) -> Meeting:
    return lambda client, _fake: client.get(path)


def behaving(behaviour: str) -> Meeting:
    async def meet(client: httpx.AsyncClient, fake: FakeTorchServe) -> httpx.Response:
        fake.behaviour = behaviour
        return await client.post("/v1/classify", content=picture())

    return meet


async def too_many(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
    return await client.post("/v1/classify", json=in_json(*[picture(size=(8, 8))] * 33))


async def too_slow(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"\x89"
        await asyncio.Event().wait()

    return await client.post("/v1/classify", content=body())


async def draining(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
    parts_of(app_of(client)).readiness.drain()
    return await client.get("/readyz")


MEETINGS: dict[str, Meeting] = {
    "empty_body": posting(b""),
    "malformed_json": posting(b"{", headers=JSON),
    "malformed_multipart": posting(b"x", headers=FORM),
    "invalid_base64": posting(b'{"images":[{"content":"*"}]}', headers=JSON),
    "route_not_found": getting("/nowhere"),
    "model_not_found": posting(query="?model=nobody"),
    "method_not_allowed": getting("/v1/classify"),
    "not_acceptable": posting(headers={"Accept": "text/html"}),
    "upload_timeout": too_slow,
    "body_too_large": posting(b"x" * 50_001),
    "image_too_large": posting(picture(size=(200, 101))),
    "too_many_images": too_many,
    "unsupported_media_type": posting(b"no picture"),
    "invalid_parameter": posting(query="?top_k=0"),
    "image_corrupt": posting(CORRUPT),
    "image_too_small": posting(picture(size=(7, 50))),
    "image_mode_unsupported": posting(of_floats()),
    "internal": behaving("says_internal"),
    "backend_bad_response": behaving("nonsense"),
    "overloaded": behaving("queue_full"),
    "backend_unavailable": behaving("worker_died"),
    "draining": draining,
    "deadline_exceeded": behaving("slow"),
}

CHANGES: dict[str, Any] = {"max_upload_bytes": 50_000, "max_pixels": 20_000, "upload_timeout_s": 0.3}


@pytest.fixture
async def strict(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with limits that are easily met, and models that must be quick."""
    async with running(**CHANGES) as client:
        catalogue = parts_of(app_of(client)).catalogue
        hasty = {
            name: card.model_copy(update={"serving": card.serving.model_copy(update={"deadline_s": 1.0})})
            for name, card in catalogue.cards.items()
        }
        catalogue.cards = hasty
        yield client


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code())
async def test_every_problem_can_be_met_and_tells_itself(
    error: Any, strict: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    response = await MEETINGS[error.code()](strict, fake)

    body = response.json()
    Problem.model_validate(body)
    assert response.status_code == body["status"] == error.status
    assert response.headers["content-type"] == "application/problem+json"
    assert (body["code"], body["title"], body["type"]) == (error.code(), error.title, f"/problems/{error.code()}")
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["detail"]
    expected = None if error.retry_after_s is None else str(error.retry_after_s)
    assert response.headers.get("retry-after") == expected


async def test_a_problem_is_counted_by_its_code(strict: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    for _ in range(3):
        await MEETINGS["image_corrupt"](strict, fake)

    assert 'resnest_problems_total{code="image_corrupt"} 3.0' in (await strict.get("/metrics")).text


@pytest.mark.parametrize("path", ["/nowhere", "/v1/classify/", "/v1", "/v1/classifyx", "/%2e%2e/etc/passwd", "//"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_path_that_is_not_served_is_a_404(method: str, path: str, client: httpx.AsyncClient) -> None:
    response = await client.request(method, f"http://gateway{path}")

    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/classify", "POST"),
        ("HEAD", "/v1/segment", "POST"),
        ("PUT", "/v1/segment", "POST"),
        ("OPTIONS", "/v1/classify", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/v1/models/tiny-classifier", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("BREW", "/readyz", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_has_not_is_a_405_that_says_which_it_has(
    method: str, path: str, allowed: str, client: httpx.AsyncClient
) -> None:
    response = await client.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        assert response.json()["code"] == "method_not_allowed"


class Crashing:
    """A backend with a mistake in it."""

    async def predict(self, card: ModelCard, picture: Pixels, *, deadline: float, request_id: str) -> Answer:
        if request_id == "canary":
            return Answer({"scores": np.zeros(7, np.float32)}, 1, 0.0, 0.0)
        try:
            raise KeyError(PRIVATE)
        except KeyError as error:
            raise RuntimeError(f"cannot handle {PRIVATE}") from error

    async def workers(self, card: ModelCard) -> Workers:
        return Workers(frozenset({1}), 1)

    async def close(self) -> None:
        pass


async def test_a_crash_tells_and_logs_nothing_of_its_message_but_where_it_was(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(Crashing()) as client:
        with caplog.at_level(logging.DEBUG):
            response = await client.post("/v1/classify", content=picture(), headers={"X-Request-ID": "crash-1"})
        alive = await client.get("/livez")

    body = response.json()
    assert (response.status_code, body["code"], body["request_id"]) == (500, "internal", "crash-1")
    assert PRIVATE not in response.text
    assert "Traceback" not in response.text
    assert "RuntimeError" not in response.text
    assert PRIVATE not in caplog.text
    (record,) = [record for record in caplog.records if "crash" in record.getMessage()]
    assert "request_id=crash-1" in record.getMessage()
    assert "RuntimeError" in record.getMessage()
    assert "KeyError" in record.getMessage()
    assert "test_problems.py" in record.getMessage()
    assert alive.status_code == 200


async def test_a_crash_gives_the_places_and_the_memory_back(running: Running) -> None:
    async with running(Crashing()) as client:
        await client.post("/v1/classify", content=picture())
        gateway = parts_of(app_of(client))
        text = (await client.get("/metrics")).text

    assert gateway.memory.held == 0
    assert 'resnest_inference_in_flight{model="tiny-classifier"} 0.0' in text
    assert 'resnest_http_requests_total{method="POST",route="/v1/classify",status="500"} 1.0' in text


async def test_problems_lists_every_problem(client: httpx.AsyncClient) -> None:
    page = (await client.get("/problems")).text

    assert [error.code() for error in every_error() if f"/problems/{error.code()}'" not in page] == []


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code())
async def test_a_problems_type_leads_to_a_page_that_says_what_to_do(error: Any, client: httpx.AsyncClient) -> None:
    made = error("x").problem()

    response = await client.get(made["type"])

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert error.title.replace("'", "&#x27;") in response.text


async def test_a_page_of_no_problem_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/problems/nonsense")

    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")
