"""The spans of a process reach a collector by OTLP, as OpenTelemetry's variables say."""

import os
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager

import pytest

from service.config.environment import SettingsError
from service.config.tracing.provider import close, open_provider
from tests.otlp import Received, receiving, receiving_by_grpc


@pytest.mark.parametrize(
    ("protocol", "receiver"), [("http/protobuf", receiving()), ("grpc", receiving_by_grpc())], ids=["http", "grpc"]
)
def test_a_span_reaches_the_collector_with_the_service_it_is_from(
    protocol: str, receiver: AbstractContextManager[Received], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with receiver as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        provider = open_provider("gateway")
        provider.get_tracer("test").start_span("work", attributes={"a": 1}).end()
        close(provider)

    (span,) = received.spans
    assert (span.name, span.attributes) == ("work", {"a": 1})
    assert span.service == "resnest-gateway"
    assert span.resource["deployment.environment.name"] == "test"
    assert span.resource["process.pid"] == os.getpid()


def test_the_name_that_the_operator_gives_the_service_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "vision")
    with receiving() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        provider = open_provider("worker")
        provider.get_tracer("test").start_span("work").end()
        close(provider)

    assert [span.service for span in received.spans] == ["vision"]


def test_spans_are_sent_within_seconds_without_an_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.endpoint)
        provider = open_provider("worker")
        provider.get_tracer("test").start_span("work").end()
        received.wait(lambda: received.spans)
        close(provider)


def test_the_sampler_is_the_one_of_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    provider = open_provider("gateway")

    assert not provider.get_tracer("test").start_span("work").is_recording()
    close(provider)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL must be one of http/protobuf, grpc"):
        open_provider("gateway", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})


def test_a_collector_that_hangs_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{hanging.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "120")
        program = (
            "from service.config.tracing.provider import close, open_provider\n"
            "provider = open_provider('gateway')\n"
            "provider.get_tracer('test').start_span('work').end()\n"
            "close(provider, 0.2)\n"
        )
        begun = time.monotonic()
        subprocess.run([sys.executable, "-c", program], check=True, timeout=100)

    assert time.monotonic() - begun < 60


def test_while_traces_are_off_nothing_of_the_sdk_is_imported() -> None:
    program = (
        "import sys, service.gateway.app, service.gateway.server.uvicorn_server, service.worker.handler\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=100, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"
