"""The setting that turns traces on."""

import pytest
from pydantic import ValidationError

from service.config.tracing.trace_settings import TraceSettings


def test_traces_are_off_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TraceSettings().traces == "off"

    monkeypatch.setenv("RESNEST_TRACES", "otlp")

    assert TraceSettings().traces == "otlp"


def test_another_protocol_than_otlp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_TRACES", "zipkin")

    with pytest.raises(ValidationError, match="'off' or 'otlp'"):
        TraceSettings()
