"""Record the spans of requests, their stages, and their exchanges with model servers, by OpenTelemetry.

An exception's message may contain bytes of an upload, so spans have only its code or class.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Final, Self

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service import __version__
from service.config.tracing import provider as providers
from service.errors import DeadlineExceeded, ServiceError
from service.gateway.metrics.tracing import (
    IMAGE_TRACE,
    NO_IMAGE_SCOPE,
    NO_STAGE,
    AttemptTrace,
    ImageScope,
    Tracing,
    Value,
    Work,
)

SCOPE: Final = "resnest-service"  # OpenTelemetry's name for who makes the spans
PROPAGATOR: Final = TraceContextTextMapPropagator()


class RecordedTracing(Tracing):
    """Records the spans of requests that are sampled. The span of the request must be the current one."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self.tracer: Tracer = provider.get_tracer(SCOPE, __version__)
        self.log_filter = TraceIds()
        self.exemplar = exemplar

    def stage(self, name: str) -> AbstractContextManager[object]:
        """See `Tracing.stage`."""
        return StageSpan(self.tracer.start_span(name)) if is_recorded() else NO_STAGE

    def image(self, model: str) -> ImageScope:
        """See `Tracing.image`."""
        return ImageSpans(self.tracer, model) if is_recorded() else NO_IMAGE_SCOPE

    def close(self) -> None:
        """See `Tracing.close`."""
        providers.close(self._provider)


class TraceIds(logging.Filter):
    """Adds the ids of the current span to each log record that has none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        found = trace.get_current_span().get_span_context()
        if found.is_valid and not hasattr(record, "trace_id"):
            record.trace_id = f"{found.trace_id:032x}"
        return True


class StageSpan:
    """The span of a stage, which ends with the context."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        end(self._span, error)


class ImageSpans(ImageScope):
    """The spans of one image at one model: `queue` until a batch with it is sent, and `inference` for each exchange."""

    def __init__(self, tracer: Tracer, model: str) -> None:
        self._tracer = tracer
        self._facts = {"resnest.model": model}
        self._parent = get_current()
        self._queue: Span | None = None

    def __enter__(self) -> Self:
        self._queue = self._tracer.start_span("queue", self._parent, attributes=self._facts)
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        self._leave_queue(error)

    def bind(self, work: Work[Value]) -> Work[Value]:
        """See `ImageScope.bind`."""

        async def bound() -> Value:
            token = IMAGE_TRACE.set(self)
            try:
                return await work()
            finally:
                IMAGE_TRACE.reset(token)

        return bound

    def attempt(self, replica: str, images: int) -> AttemptTrace:
        """See `ImageTrace.attempt`."""
        self._leave_queue()
        facts: dict[str, str | int] = {**self._facts, "server.address": replica, "resnest.exchange.images": images}
        return AttemptSpan(self._tracer.start_span("inference", self._parent, SpanKind.CLIENT, facts))

    def _leave_queue(self, error: BaseException | None = None) -> None:
        if self._queue is not None:
            end(self._queue, error)
            self._queue = None


class AttemptSpan:
    """The span of one exchange of an image with a model server."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.carrier: Mapping[str, str] = carrier_of(span)

    def end(self, error: BaseException | None = None) -> None:
        """See `AttemptTrace.end`."""
        end(self._span, error)


def is_recorded() -> bool:
    """Return whether the current request has a span, and is sampled."""
    return trace.get_current_span().is_recording()


def carrier_of(span: Span) -> Mapping[str, str]:
    """Return the headers that make a span the parent of others (W3C Trace Context)."""
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier


def end(span: Span, error: BaseException | None = None) -> None:
    """End a span, after an error if there was one. A caller's mistake or departure is no error of the span."""
    if isinstance(error, ServiceError):
        fail(span, error.code(), is_ours=error.status >= 500)
    elif isinstance(error, asyncio.CancelledError):
        fail(span, "cancelled", is_ours=False)
    elif error is not None:
        fail(span, DeadlineExceeded.code() if isinstance(error, TimeoutError) else type(error).__name__, is_ours=True)
    span.end()


def fail(span: Span, kind: str, *, is_ours: bool) -> None:
    """Set what a span failed with; with `is_ours` the service is at fault."""
    span.set_attribute("error.type", kind)
    if is_ours:
        span.set_status(StatusCode.ERROR)


def exemplar() -> dict[str, str] | None:
    """Return the labels that lead from a measurement to the trace of the current request; None if it has none."""
    found = trace.get_current_span().get_span_context()
    if not (found.is_valid and found.trace_flags.sampled):
        return None
    return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}
