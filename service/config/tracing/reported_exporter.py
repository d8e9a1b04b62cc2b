"""An exporter of spans that logs when its collector stops to accept them, and when it accepts them again."""

import logging
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from service.config.outage import Outage

log = logging.getLogger(__name__)


class ReportedExporter(SpanExporter):
    """Passes spans on to another exporter. Spans that it cannot send are lost, and never delay a request."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._outage = Outage(log)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        try:
            result, reason = self._exporter.export(spans), "it refused them or did not answer"
        except Exception as error:  # of the network, for which each protocol has classes of its own
            result, reason = SpanExportResult.FAILURE, type(error).__name__
        if result is SpanExportResult.SUCCESS:
            self._outage.end("the collector of traces accepts spans again")
        else:
            self._outage.begin(f"spans are lost, because the collector of traces fails: {reason}")
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the other exporter holds back."""
        return self._exporter.force_flush(timeout_millis)
