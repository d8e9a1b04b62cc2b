"""Record what a worker does for images whose requests are traced, below the span that the gateway sent with each.

This module is imported only while traces are on: opentelemetry-sdk is an extra.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service import __version__
from service.errors import Internal
from service.tasks.frame import UnpackedFrame
from service.worker.batches.batch import BatchedOutput
from service.worker.exchange import RejectedImageError

PROPAGATOR: Final = TraceContextTextMapPropagator()
TRACEPARENT: Final = "traceparent"


class BatchSpans:
    """Records for each traced image the spans `worker`, from its batch's arrival to its outcome, and `forward` in it.

    Each has the times of the whole batch, and says of how many images that was.
    """

    def __init__(self, provider: TracerProvider, model: str) -> None:
        self._tracer = provider.get_tracer("resnest-service", __version__)
        self._model = model

    def record(
        self,
        opened: Sequence[UnpackedFrame | RejectedImageError],
        outcomes: Mapping[int, BatchedOutput | Exception],
        begun_ns: int,
    ) -> None:
        """Record the spans of a batch, on which work began at `begun_ns` (Unix time)."""
        ended_ns = time.time_ns()
        for index, each in enumerate(opened):
            if not isinstance(each, RejectedImageError) and isinstance(each[0].get(TRACEPARENT), str):
                parent = PROPAGATOR.extract(each[0])
                if trace.get_current_span(parent).get_span_context().is_valid:
                    self._record_image(parent, outcomes[index], begun_ns, ended_ns)

    def _record_image(self, parent: Context, outcome: BatchedOutput | Exception, begun_ns: int, ended_ns: int) -> None:
        facts = {"resnest.model": self._model}
        span = self._tracer.start_span("worker", parent, SpanKind.SERVER, facts, start_time=begun_ns)
        if isinstance(outcome, BatchedOutput):
            facts_of_pass: dict[str, str | int] = {**facts, "resnest.batch_size": outcome.batch}
            within = trace.set_span_in_context(span, parent)
            forward = self._tracer.start_span("forward", within, attributes=facts_of_pass, start_time=outcome.begun_ns)
            forward.end(outcome.begun_ns + int(outcome.inference_ms * 1e6))
        else:
            span.set_attribute("error.type", getattr(outcome, "code", Internal.code()))
            span.set_status(StatusCode.ERROR)
        span.end(ended_ns)
