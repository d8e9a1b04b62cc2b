"""An exporter whose collector fails: one log line at the begin and one at the end."""

import logging
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from service.config.tracing.reported_exporter import ReportedExporter


class Failing(SpanExporter):
    """An exporter that fails as the test says: by an exception, by a result, or not at all."""

    def __init__(self, *outcomes: SpanExportResult | Exception) -> None:
        self._outcomes = iter(outcomes)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_an_outage_is_logged_at_its_begin_and_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    exporter = ReportedExporter(Failing(good, ConnectionError("secret"), bad, bad, good, good))

    results = [exporter.export([]) for _ in range(6)]

    assert results == [good, bad, bad, bad, good, good]
    begin, end = caplog.records
    assert begin.getMessage() == "spans are lost, because the collector of traces fails: ConnectionError"
    assert end.getMessage().startswith("the collector of traces accepts spans again after")
    assert {begin.levelno, end.levelno} == {logging.WARNING}
