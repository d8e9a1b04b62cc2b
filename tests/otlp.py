"""A receiver of OTLP, over HTTP and gRPC, which reads spans with OpenTelemetry's own protocol package."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

WAIT_S = 60.0


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it arrived; ids are hexadecimal, times in seconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begun: float
    ended: float
    attributes: dict[str, Any]
    resource: dict[str, Any]
    failed: bool

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


@dataclass
class Received:
    """What a receiver got. While `refuses`, it answers that it is unavailable."""

    endpoint: str
    spans: list[ReceivedSpan] = field(default_factory=list)
    refuses: bool = False
    requests: int = 0

    def add(self, request: ExportTraceServiceRequest) -> None:
        self.spans.extend(spans_of(request))

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def wait(self, enough: Callable[[], object]) -> None:
        """Wait until `enough()`; fail with the spans after `WAIT_S`."""
        end = time.monotonic() + WAIT_S
        while not enough():
            assert time.monotonic() < end, [(span.name, span.service) for span in self.spans]
            time.sleep(0.02)


def spans_of(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for group in request.resource_spans:
        resource = values(group.resource.attributes)
        for span in (each for scope in group.scope_spans for each in scope.spans):
            yield ReceivedSpan(
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.start_time_unix_nano / 1e9,
                span.end_time_unix_nano / 1e9,
                values(span.attributes),
                resource,
                span.status.code == Status.STATUS_CODE_ERROR,
            )


def values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def receiving() -> Iterator[Received]:
    """Receive over HTTP at the endpoint's path `/v1/traces`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.requests += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            accepted = self.path == "/v1/traces" and not received.refuses
            if accepted:
                received.add(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if accepted else 400)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Received(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def receiving_by_grpc() -> Iterator[Received]:
    """Receive over gRPC."""

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802
            received.add(request)
            return ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)  # type: ignore[no-untyped-call]
    received = Received(f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    try:
        yield received
    finally:
        server.stop(None).wait()
