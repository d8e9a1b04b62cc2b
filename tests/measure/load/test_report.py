"""Tests of the JSON document and the tables of a measurement."""

import json

import pytest

from service import __version__
from service.measure.load import report
from tests.measure.load.trials import make_trial

TRIALS = [make_trial(20, 20, 0.010), make_trial(60, 60, 0.012), make_trial(110, 70, 0.300, errors=5)]


def test_the_document_is_json_with_every_figure() -> None:
    document = report.document("http://x/v1/classify", {"per_request": 1}, TRIALS, limit={"a": 1})
    read = json.loads(json.dumps(document))
    assert (read["version"], read["target"], read["limit"]) == (__version__, "http://x/v1/classify", {"a": 1})
    assert read["host"]["cores"] >= 1
    assert read["knee"] == "60 req/s poisson"
    last = read["trials"][-1]
    assert last["load"] == {"kind": "poisson", "amount": 110, "description": "110 req/s poisson"}
    assert last["summary"]["outcomes"] == {"ok": 70, "503 overloaded": 5}
    assert last["summary"]["latency_ms"]["p50"] == pytest.approx(300)
    assert last["processes"][0]["rss_mb"] == 120.0


def test_a_row_a_load_marks_the_knee() -> None:
    head, rows = report.loads(TRIALS)
    assert [len(row) for row in rows] == [len(head)] * 3
    assert [row[0] for row in rows] == ["20 req/s poisson", "60 req/s poisson <- knee", "110 req/s poisson"]
    assert rows[1][head.index("P50")] == "12.0"
    assert rows[1][head.index("P99")] == "-"  # 60 requests are too few
    assert rows[2][head.index("ERRORS")] == "5"


def test_errors_are_told_by_code_and_share() -> None:
    _, rows = report.errors(TRIALS)
    assert rows == [("110 req/s poisson", "503 overloaded", "5", "6.7%")]
    assert report.errors(TRIALS[:2])[1] == []


def test_stages_are_a_column_each() -> None:
    head, rows = report.stages(TRIALS[:1])
    assert head == ("P50 / P99 OF", "DECODE")
    assert rows == [("20 req/s poisson", "2.0 / -")]


def test_no_stages_are_no_rows() -> None:
    assert report.stages([make_trial(1, 0, 0.1)])[1] == []


def test_processes_are_those_of_the_last_load() -> None:
    assert report.processes(TRIALS)[1] == [("gateway", "7", "0.50", "120")]
    assert report.processes([])[1] == []


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.123, "0.12"), (1.26, "1.3"), (99.94, "99.9"), (1234.5, "1234")]
)
def test_milliseconds_have_the_digits_that_count(value: float | None, text: str) -> None:
    assert report.milliseconds(value) == text
