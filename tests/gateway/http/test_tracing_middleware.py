"""The span of a request: its parent, what it says, and which requests have one."""

import logging

import pytest

from tests.gateway.conftest import Running
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.fixtures.traces import NOT_SAMPLED, PARENT, SAMPLED, TRACE, received
from tests.otlp import Received, ReceivedSpan

__all__ = ["received"]
pytestmark = pytest.mark.anyio


def servers(received: Received) -> list[ReceivedSpan]:
    return [span for span in received.spans if "http.request.method" in span.attributes]


async def test_a_request_is_a_child_of_the_span_that_its_caller_names(running: Running, received: Received) -> None:
    image = image_bytes()
    async with running(traces="otlp") as client:
        await client.post(
            "/v1/classify?top_k=1", content=image, headers={**SAMPLED, "X-Request-ID": "find-me", "X-Secret": "secret"}
        )

    (span,) = servers(received)
    assert (span.name, span.trace_id, span.parent_id) == ("POST /v1/classify", TRACE, PARENT)
    version = span.attributes["resnest.version"]
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/classify",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "http.request.body.size": len(image),
        "resnest.request_id": "find-me",
        "resnest.caller": "anonymous",
        "resnest.model": "tiny-classifier",
        "resnest.version": version,
        "resnest.images": 1,
        "resnest.pixels": span.attributes["resnest.pixels"],
    }
    assert not span.failed


async def test_a_request_without_a_parent_begins_a_trace(running: Running, received: Received) -> None:
    async with running(traces="otlp") as client:
        await client.post("/v1/classify", content=image_bytes())

    (span,) = servers(received)
    assert span.parent_id == ""


async def test_what_the_caller_does_not_sample_is_not_recorded_but_logged_under_its_trace(
    running: Running, received: Received, caplog: pytest.LogCaptureFixture, fake: FakeTorchServe
) -> None:
    caplog.set_level("INFO", "service.gateway.http.access_log")
    async with running(traces="otlp", access_log="all") as client:
        answer = await client.post("/v1/classify", content=image_bytes(), headers=NOT_SAMPLED)

    assert answer.status_code == 200
    assert received.spans == []
    assert set(fake.traceparents) == {None}
    assert [record.__dict__["trace_id"] for record in caplog.records if record.message == "request"] == [TRACE]


async def test_the_log_line_of_a_request_has_the_trace_that_the_gateway_began(
    running: Running, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "service.gateway.http.access_log")
    async with running(traces="otlp", access_log="all") as client:
        await client.post("/v1/classify", content=image_bytes())
    (line,) = [record for record in caplog.records if record.message == "request"]

    assert [span.trace_id for span in servers(received)] == [line.__dict__["trace_id"]]


async def test_probes_and_scrapes_have_no_span(running: Running, received: Received) -> None:
    async with running(traces="otlp") as client:
        for path in ("/livez", "/readyz", "/metrics", "/v2/health/live"):
            await client.get(path, headers=SAMPLED)
        await client.get("/v1/models", headers=SAMPLED)

    assert [span.name for span in received.spans] == ["GET /v1/models"]


async def test_a_callers_mistake_has_its_code_and_is_no_error(running: Running, received: Received) -> None:
    async with running(traces="otlp") as client:
        await client.post("/v1/classify?secret=1", content=b"secret upload", headers=SAMPLED)
        await client.get("/secret", headers=SAMPLED)

    first, second = servers(received)
    assert (first.attributes["error.type"], first.failed) == ("invalid_parameter", False)
    assert (second.attributes["error.type"], second.attributes["http.route"]) == ("route_not_found", "unmatched")
    assert "secret" not in str(received.spans)


async def test_a_failure_of_the_service_is_an_error(running: Running, received: Received, fake: FakeTorchServe) -> None:
    fake.behaviour = "die"
    async with running(traces="otlp") as client:
        answer = await client.post("/v1/classify", content=image_bytes(), headers=SAMPLED)

    (span,) = servers(received)
    assert (span.failed, span.attributes["error.type"]) == (True, answer.json()["code"])


async def test_an_invalid_header_begins_a_new_trace(running: Running, received: Received) -> None:
    async with running(traces="otlp") as client:
        await client.get("/v1/models", headers={"traceparent": "00-zz-zz-zz"})

    (span,) = received.spans
    assert span.parent_id == ""
    assert logging.getLogger("opentelemetry.exporter").level == logging.CRITICAL
