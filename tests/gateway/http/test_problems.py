"""Every failure is a problem document, and every problem code can occur."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from service.errors import every_error
from service.tasks.shapes import Problem
from tests.gateway.conftest import Running, app_of, components_of, settled
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, float_tiff, image_bytes, json_body
from tests.odd_images import encode, upright_image

pytestmark = pytest.mark.anyio

PRIVATE = "pr1v4te-bytes-of-an-upload"

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}

Cause = Callable[[httpx.AsyncClient, FakeTorchServe], Awaitable[httpx.Response]]


def posting(content: bytes | None = None, query: str = "", headers: dict[str, str] | None = None) -> Cause:
    async def cause(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
        body = image_bytes() if content is None else content
        return await client.post(f"/v1/classify{query}", content=body, headers=headers)

    return cause


def getting(path: str) -> Cause:
    return lambda client, _fake: client.get(path)


def behaving(behaviour: str) -> Cause:
    async def cause(client: httpx.AsyncClient, fake: FakeTorchServe) -> httpx.Response:
        fake.behaviour = behaviour
        return await client.post("/v1/classify", content=image_bytes())

    return cause


async def matching_etag(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
    first = await client.post("/v1/classify", content=image_bytes())
    return await client.post("/v1/classify", content=image_bytes(), headers={"If-None-Match": first.headers["etag"]})


async def too_many(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
    return await client.post("/v1/classify", json=json_body(*[image_bytes(size=(8, 8))] * 33))


async def too_slow(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"\x89"
        await asyncio.Event().wait()

    return await client.post("/v1/classify", content=body())


async def draining(client: httpx.AsyncClient, _fake: FakeTorchServe) -> httpx.Response:
    components_of(app_of(client)).readiness.drain()
    return await client.get("/readyz?require=all")


async def refused(client: httpx.AsyncClient, fake: FakeTorchServe) -> httpx.Response:
    fake.workers.clear()
    await settled(app_of(client))
    return await client.post("/v1/classify", content=image_bytes())


CAUSES: dict[str, Cause] = {
    "empty_body": posting(b""),
    "malformed_json": posting(b"{", headers=JSON),
    "malformed_multipart": posting(b"x", headers=FORM),
    "invalid_base64": posting(b'{"images":[{"content":"*"}]}', headers=JSON),
    "invalid_header": posting(headers={"Request-Timeout": "soon"}),
    "route_not_found": getting("/nowhere"),
    "model_not_found": posting(query="?model=absent"),
    "method_not_allowed": getting("/v1/classify"),
    "not_acceptable": posting(headers={"Accept": "text/html"}),
    "upload_timeout": too_slow,
    "precondition_failed": matching_etag,
    "body_too_large": posting(b"x" * 50_001),
    "image_too_large": posting(image_bytes(size=(200, 101))),
    "too_many_images": too_many,
    "unsupported_media_type": posting(b"no picture"),
    "invalid_parameter": posting(query="?top_k=0"),
    "image_corrupt": posting(CORRUPT),
    "image_too_small": posting(image_bytes(size=(7, 50))),
    "image_too_costly": posting(image_bytes(size=(200, 90))),
    "image_mode_unsupported": posting(float_tiff()),
    "image_kind_unsupported": posting(encode(upright_image(), "JPEG").replace(b"\xff\xc0\0\x11", b"\xff\xc3\0\x11")),
    "internal": behaving("says_internal"),
    "backend_bad_response": behaving("nonsense"),
    "overloaded": behaving("queue_full"),
    "backend_unavailable": behaving("worker_died"),
    "model_refused": refused,
    "draining": draining,
    "deadline_exceeded": behaving("slow"),
}

# Caused in server/test_protocol.py, in the tests of access and of tasks, and in tests/inputs.
CAUSED_ELSEWHERE = {
    "decoders_unavailable",
    "length_required",
    "masks_too_large",
    "malformed_request",
    "headers_too_large",
    "unauthenticated",
    "forbidden",
    "rate_limited",
    "concurrency_limited",
    "rate_limits_unavailable",
    "keys_unavailable",
}

CHANGES: dict[str, Any] = {
    "max_upload_bytes": 50_000,
    "max_pixels": 20_000,
    "free_pixels": 15_000,
    "pixels_per_byte": 1,
    "upload_timeout_s": 0.3,
    "cache_bytes": 10_000,
}


@pytest.fixture
async def strict(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with low limits, whose models have a deadline of 1 s."""
    async with running(**CHANGES) as client:
        registry = components_of(app_of(client)).registry
        hasty = {
            name: card.model_copy(update={"serving": card.serving.model_copy(update={"deadline_s": 1.0})})
            for name, card in registry.cards.items()
        }
        registry.cards = hasty
        yield client


TESTED = [error for error in every_error() if error.code() not in CAUSED_ELSEWHERE]


@pytest.mark.parametrize("error", TESTED, ids=lambda error: error.code())
async def test_every_problem_can_be_met_and_tells_itself(
    error: Any, strict: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    response = await CAUSES[error.code()](strict, fake)

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
        await CAUSES["image_corrupt"](strict, fake)

    assert 'resnest_problems_total{code="image_corrupt"} 3.0' in (await strict.get("/metrics")).text


@pytest.mark.parametrize("path", ["/nowhere", "/v1/classify/", "/v1", "/v1/classifyx", "/%2e%2e/etc/passwd", "//"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_path_that_is_not_served_is_a_404(method: str, path: str, client: httpx.AsyncClient) -> None:
    response = await client.request(method, f"http://gateway{path}")

    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")


@pytest.mark.parametrize("path", ["/classify", "/v1/classify/", "/V1/Classify", "/api/classify", "/v2/clasify"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_path_that_is_almost_served_names_the_one_that_was_meant(
    method: str, path: str, client: httpx.AsyncClient
) -> None:
    response = await client.request(method, path)

    assert response.json()["detail"] == "Nothing is served at this path. Did you mean POST /v1/classify?"


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
        assert response.json()["detail"].startswith(f"Use {allowed.replace(', ', ' or ')}: this path allows no other ")
