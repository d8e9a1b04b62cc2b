"""Create what makes and sends a process's spans, as OpenTelemetry's own variables say.

Nothing here is imported while traces are off: opentelemetry-sdk is an extra.
"""

import importlib
import logging
import os
import socket
import threading
from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from service import __version__
from service.config.environment import SettingsError
from service.config.tracing.reported_exporter import ReportedExporter

# The packages of OTLP's protocols, by the names that OTEL_EXPORTER_OTLP_PROTOCOL has for them.
PACKAGES: Final = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
DELAY: Final = "OTEL_BSP_SCHEDULE_DELAY"
# Instead of OpenTelemetry's 5 s: TorchServe kills workers, and with them the spans that they have not sent.
DELAY_MS: Final = 1000.0
CLOSE_S: Final = 3.0  # for the last spans; a collector that hangs must not keep the process


def open_provider(component: str, environment: Mapping[str, str] = os.environ) -> TracerProvider:
    """Return the source of a process's tracers, `component` being `gateway` or `worker`.

    Raise `SettingsError` for an unknown protocol, and for one whose package is not installed.
    """
    exporter = ReportedExporter(_exporter(environment))
    # Its own warnings come for each batch; `ReportedExporter` logs the begin and the end of an outage.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    provider = TracerProvider(resource=_resource(component), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, schedule_delay_millis=None if DELAY in environment else DELAY_MS)
    )
    return provider


def close(provider: TracerProvider, timeout_s: float = CLOSE_S) -> None:
    """Send the last spans, for at most `timeout_s` seconds."""
    closing = threading.Thread(target=provider.shutdown, daemon=True)
    closing.start()
    closing.join(timeout_s)


def _exporter(environment: Mapping[str, str]) -> SpanExporter:
    protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), "http/protobuf")
    if protocol not in PACKAGES:
        raise SettingsError(f"{PROTOCOLS[1]} must be one of {', '.join(PACKAGES)}, and is {protocol!r}")
    try:
        module = importlib.import_module(PACKAGES[protocol])
    except ModuleNotFoundError as error:
        package = f"opentelemetry-exporter-otlp-proto-{protocol.partition('/')[0]}"
        raise SettingsError(f"{PROTOCOLS[1]}={protocol} needs {error.name}: install {package}") from error
    exporter: SpanExporter = module.OTLPSpanExporter()
    return exporter


def _resource(component: str) -> Resource:
    """Return what all spans of this process have in common. What OTEL_RESOURCE_ATTRIBUTES sets stays as it is."""
    ours: dict[str, str | int] = {
        "service.name": f"resnest-{component}",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    given = OTELResourceDetector().detect().attributes
    return Resource.create({name: value for name, value in ours.items() if name not in given})
