"""The spans below that of a request: its stages, its exchanges with the model server, and what failed in them."""

import re

import pytest

from tests.gateway.conftest import Running
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes
from tests.gateway.fixtures.traces import PARENT, SAMPLED, TRACE, received
from tests.otlp import Received, ReceivedSpan

__all__ = ["received"]
pytestmark = pytest.mark.anyio

OPEN_METRICS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
EXEMPLAR = re.compile(r'^(resnest_\w+)_bucket\{.*\} \S+ # \{span_id="([0-9a-f]{16})",trace_id="([0-9a-f]{32})"\}', re.M)


def named(received: Received, name: str) -> list[ReceivedSpan]:
    return [span for span in received.spans if span.name == name]


async def test_a_request_has_a_span_for_each_stage_in_their_order(running: Running, received: Received) -> None:
    async with running(traces="otlp") as client:
        answer = await client.post("/v1/segment", content=image_bytes(), headers=SAMPLED)
    assert answer.status_code == 200

    (server,) = named(received, "POST /v1/segment")
    stages = [span for span in received.spans if span.parent_id == server.span_id]
    assert [span.name for span in sorted(stages, key=lambda span: span.begun)] == [
        "upload",
        "decode",
        "queue",
        "inference",
        "encode",
    ]
    assert {span.trace_id for span in stages} == {TRACE}
    assert all(server.begun <= span.begun <= span.ended <= server.ended for span in stages)
    assert not any(span.failed for span in received.spans)


async def test_the_worker_gets_the_span_of_its_exchange(
    running: Running, received: Received, fake: FakeTorchServe
) -> None:
    async with running(traces="otlp") as client:
        await client.post("/v1/classify", content=image_bytes(), headers={**SAMPLED, "tracestate": "a=b"})

    (exchange,) = named(received, "inference")
    assert [each for each in fake.traceparents if each] == [f"00-{TRACE}-{exchange.span_id}-01"]
    assert exchange.attributes["resnest.exchange.images"] == 1


async def test_each_image_of_a_request_has_its_own_spans(running: Running, received: Received) -> None:
    files = [("image", (f"{seed}.png", image_bytes(seed=seed), "image/png")) for seed in range(3)]
    async with running(traces="otlp") as client:
        await client.post("/v1/classify", files=files, headers=SAMPLED)

    assert [len(named(received, stage)) for stage in ("upload", "decode", "queue", "inference")] == [1, 3, 3, 3]


async def test_a_stage_that_fails_says_with_what(running: Running, received: Received) -> None:
    async with running(traces="otlp") as client:
        await client.post("/v1/classify", content=CORRUPT, headers=SAMPLED)

    (decode,) = named(received, "decode")
    assert decode.attributes["error.type"] == "image_corrupt"
    assert not decode.failed
    assert named(received, "queue") == []


async def test_each_attempt_has_a_span_and_the_failed_one_its_code(
    running: Running, received: Received, fake: FakeTorchServe
) -> None:
    async with running(traces="otlp") as client:
        fake.next.append("die")
        answer = await client.post("/v1/classify", content=image_bytes(), headers=SAMPLED)

    assert answer.status_code == 200
    first, second = sorted(named(received, "inference"), key=lambda span: span.begun)
    assert (first.attributes["error.type"], first.failed) == ("backend_unavailable", True)
    assert not second.failed
    assert len(named(received, "queue")) == 1


async def test_a_deadline_that_passes_at_the_model_ends_the_exchange(
    running: Running, received: Received, fake: FakeTorchServe
) -> None:
    async with running(traces="otlp") as client:
        fake.behaviour = "slow"
        answer = await client.post("/v1/classify", content=image_bytes(), headers={**SAMPLED, "Request-Timeout": "0.3"})
        fake.release.set()

    assert answer.status_code == 504
    assert {span.attributes["error.type"] for span in named(received, "inference")} == {"cancelled"}
    (server,) = named(received, "POST /v1/classify")
    assert server.attributes["error.type"] == "deadline_exceeded"


async def test_latency_histograms_lead_to_the_trace(running: Running, received: Received) -> None:
    async with running(traces="otlp") as client:
        await client.post("/v1/segment", content=image_bytes(), headers=SAMPLED)
        metrics = await client.get("/metrics", headers=OPEN_METRICS)
        plain = await client.get("/metrics")

    assert metrics.headers["content-type"].startswith("application/openmetrics-text")
    (server,) = named(received, "POST /v1/segment")
    found = EXEMPLAR.findall(metrics.text)
    assert {name for name, span_id, trace_id in found if (span_id, trace_id) == (server.span_id, TRACE)} >= {
        "resnest_http_request_duration_seconds",
        "resnest_stage_duration_seconds",
    }
    assert "trace_id" not in plain.text
    assert plain.headers["content-type"].startswith("text/plain")


async def test_without_traces_open_metrics_has_no_exemplars_and_the_same_values(running: Running) -> None:
    async with running() as client:
        await client.post("/v1/classify", content=image_bytes(), headers=SAMPLED)
        metrics = (await client.get("/metrics", headers=OPEN_METRICS)).text

    assert metrics.endswith("# EOF\n")
    assert 'resnest_images_total{model="tiny-classifier",outcome="ok"} 1.0' in metrics
    assert PARENT not in metrics
    assert TRACE not in metrics
