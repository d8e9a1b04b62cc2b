"""The log line, the trace and the metric of one request, found from the id that its caller quotes."""

import json
import urllib.parse
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.host.processes import free_port
from tests.deploy.live import scraped
from tests.deploy.live import until as until_found
from tests.e2e.running import Running, running, until
from tests.e2e.test_answers import upload
from tests.otlp import Received, receiving
from tests.stores import write_store

MODEL = "tiny-segmenter"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
DURATION = "resnest_http_request_duration_seconds_bucket"
STAGES = ("upload", "decode", "queue", "inference", "encode")

pytestmark = pytest.mark.e2e


def send(service: Running, quoted: str, **headers: str) -> None:
    answer = service.client.post(
        "/v1/segment", content=upload(1), headers={"X-Request-ID": quoted, "Content-Type": "image/jpeg", **headers}
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Request-ID"] == quoted


def logged(service: Running, quoted: str) -> dict[str, Any]:
    """Return the request's line of the access log, once it is there."""

    def found() -> list[str]:
        return [line for line in service.output.splitlines() if quoted in line and '"event":"request"' in line]

    until(lambda: bool(found()), 60, lambda: service.output)
    line: dict[str, Any] = json.loads(found()[0])
    return line


def traced(received: Received, quoted: str) -> dict[str, Any]:
    """Return the spans of the request's trace by name, once the worker's are there too."""

    def server() -> list[Any]:
        return [span for span in received.spans if span.attributes.get("resnest.request_id") == quoted]

    received.wait(server)
    trace_id = server()[0].trace_id
    received.wait(lambda: {"worker", "forward"} <= {span.name for span in received.trace(trace_id)})
    return {span.name: span for span in received.trace(trace_id)}


def exemplars(prometheus: str, query: str) -> list[dict[str, str]]:
    """Return the labels of a query's exemplars in the last minutes, by Prometheus's API."""
    asked = urllib.parse.urlencode({"query": query, "start": "2020-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z"})
    answer = httpx.get(f"http://{prometheus}/api/v1/query_exemplars?{asked}").json()
    return [each["labels"] for series in answer["data"] for each in series["exemplars"]]


def test_an_id_leads_to_the_log_line_the_trace_and_the_metric_of_a_request(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", MODEL)
    (tmp_path / "prometheus").mkdir()
    with receiving() as received:
        settings = {
            "RESNEST_TRACES": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "RESNEST_ACCESS_LOG": "all",
        }
        with running(store, tmp_path / "run", free_port(), **settings) as service:
            service.await_ready()
            send(service, "not-sampled", traceparent=f"00-{'f' * 32}-{PARENT}-00")
            send(service, "find-me", traceparent=f"00-{TRACE}-{PARENT}-01")

            line = logged(service, "find-me")
            assert (line["trace_id"], line["model"]) == (TRACE, MODEL)

            spans = traced(received, "find-me")
            server = spans["POST /v1/segment"]
            assert (server.trace_id, server.parent_id, server.service) == (TRACE, PARENT, "resnest-gateway")
            assert {spans[stage].parent_id for stage in STAGES} == {server.span_id}
            assert (spans["worker"].parent_id, spans["worker"].service) == (
                spans["inference"].span_id,
                "resnest-worker",
            )
            assert spans["forward"].parent_id == spans["worker"].span_id
            exchange, worker = spans["inference"], spans["worker"]
            assert exchange.begun <= worker.begun <= worker.ended <= exchange.ended
            assert received.trace("f" * 32) == []

            with scraped(service.client.base_url.netloc.decode(), tmp_path / "prometheus") as prometheus:
                query = f'{DURATION}{{route="/v1/segment"}}'
                until_found(
                    lambda: {"trace_id": TRACE, "span_id": server.span_id} in exemplars(prometheus.address, query),
                    "Prometheus has the exemplar",
                )
            assert service.end() == 0
