"""The fast path returns the same responses as FastAPI's routing."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.config.settings import Settings
from service.gateway.app import create_app
from service.gateway.routes.fast_path import FastPathMiddleware
from service.gateway.routes.images import image_routes
from service.tasks.classification.schema import ClassifyQuery, EmbedQuery, ExplainQuery
from service.tasks.detection.schema import DetectQuery
from service.tasks.segmentation.schema import SegmentQuery
from tests.gateway.conftest import settled
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

QUERIES = [
    "",
    "model=tiny-classifier",
    "model=tiny-classifier&model=tiny-classifier-b",
    "model=tiny-segmenter",
    "model=",
    "model=nobody",
    "top_k=3",
    "top_k=",
    "top_k=x&min_score=2&lang=%C3%BC",
    "top_k=999",
    "min_score=nan",
    "min_score=0.1&unknown=1&other",
    "%3Cscript%3E=1",
    "mask=rle&overlay=true",
    "mask=gif",
    "classes=cat&classes=dog",
    "classes=nothing",
    "confidence=yes",
    "confidence=2",
    "encoding=base64&normalise=1",
    "quality=best",
    "tolerance=1e3",
    "&&=&a",
]
NEW_FOR_EACH = ("request_id", "timing_ms", "x-request-id", "server-timing", "content-length")
BODIES = [b"", b"no image", image_bytes()[:60], image_bytes()]


@pytest.fixture
async def both(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """A client of the app, and one of the same app without the fast path."""
    fast, plain = create_app(settings), create_app(settings)
    plain.user_middleware = [each for each in plain.user_middleware if str(each.cls) != str(FastPathMiddleware)]
    assert len(plain.user_middleware) == len(fast.user_middleware) - 1
    async with fast.router.lifespan_context(fast), plain.router.lifespan_context(plain):
        await settled(fast)
        await settled(plain)
        async with client_of(fast) as one, client_of(plain) as other:
            yield one, other


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def post(client: httpx.AsyncClient, url: str, content: bytes) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and document of a response, without what is new for each response."""
    response = await client.post(url, content=content)
    document = response.json() if "json" in response.headers["content-type"] else response.content
    headers = dict(response.headers)
    for name in NEW_FOR_EACH:
        headers.pop(name, None)
        if isinstance(document, dict):
            document.pop(name, None)
    if isinstance(document, dict) and document.get("code") == "invalid_parameter":
        # Only the fast path has the names that a route has; `test_parameters.py` checks what it says.
        document["errors"] = [each["parameter"] for each in document["errors"]]
        document["detail"] = document["detail"].partition(":")[0]
    return response.status_code, headers, document


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/segment", "/v1/embed", "/v1/explain"])
async def test_a_request_is_answered_as_by_fastapis_way(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], path: str
) -> None:
    requests = [*((f"{path}?{query}", image_bytes()) for query in QUERIES), *((path, content) for content in BODIES)]
    responses = {each: [await post(client, *each) for client in both] for each in requests}

    assert {each: pair for each, pair in responses.items() if pair[0] != pair[1]} == {}
    assert {pair[0][0] for pair in responses.values()} == {200, 400, 404, 415, 422}


async def test_every_other_method_is_fastapis(both: tuple[httpx.AsyncClient, httpx.AsyncClient]) -> None:
    for method in ("GET", "HEAD", "PUT", "OPTIONS", "DELETE"):
        one, other = [await client.request(method, "/v1/classify") for client in both]

        assert (one.status_code, one.headers.get("allow")) == (other.status_code, other.headers["allow"])


def test_the_routes_for_pictures_are_called_directly_and_no_others() -> None:
    assert {route.endpoint.path: route.endpoint.query for route in image_routes()} == {
        "/v1/classify": ClassifyQuery,
        "/v1/segment": SegmentQuery,
        "/v1/embed": EmbedQuery,
        "/v1/explain": ExplainQuery,
        "/v1/detect": DetectQuery,
    }
