"""Metrics and their readers: queries read only metrics that exist, and every metric has a reader."""

import re
from pathlib import Path

import pytest

from service.errors import every_error
from service.gateway.metrics import STAGES, definitions, model_metrics, request_metrics
from service.gateway.metrics.series import SECONDS
from service.worker.resources import gauges, gpu_report
from tests.deploy import reading
from tests.deploy.programs import TOP

FILES = [*reading.PROMETHEUS.rglob("*.yml"), *reading.GRAFANA.glob("dashboards/*.json")]
MODULES = (definitions, model_metrics, request_metrics, gauges, gpu_report)
QUERIES = [pytest.param(query, id=name) for name, query in reading.queries()]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_reads_only_metrics_that_the_gateway_exposes(query: str) -> None:
    exposed = {series for each in reading.metrics().values() for series in each}

    assert set(reading.RAW.findall(query)) - exposed == set()


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_reads_only_recorded_series_that_a_rule_records(query: str) -> None:
    recorded = {rule["record"] for rule in reading.rules("record")}

    assert set(reading.RECORDED.findall(query)) - recorded == set()


@pytest.mark.parametrize("metric", sorted(reading.metrics()))
def test_a_metric_has_a_reader(metric: str) -> None:
    read = {name for _, query in reading.queries() for name in reading.RAW.findall(query)}

    assert read & set(reading.metrics()[metric])


@pytest.mark.parametrize("rule", [pytest.param(rule["record"], id=rule["record"]) for rule in reading.rules("record")])
def test_a_recorded_series_has_a_reader(rule: str) -> None:
    assert any(rule in reading.RECORDED.findall(query) for _, query in reading.queries())


def test_the_rows_that_metrics_name_as_their_readers_are_on_a_dashboard() -> None:
    source = "".join(Path(str(each.__file__)).read_text(encoding="utf-8") for each in MODULES)
    named = {row for line in re.findall(r"# Read by:.*", source) for row in re.findall(r'"([\w ]+)"', line)}
    boards = reading.dashboards().values()
    rows = {panel["title"] for board in boards for panel in board["panels"] if panel["type"] == "row"}

    assert named == rows


def test_the_codes_that_rules_look_for_are_codes_of_errors() -> None:
    codes = {error.code() for error in every_error()}
    matchers = [
        pattern
        for rule in reading.rules("alert")
        for pattern in re.findall(r'(?:code|outcome)=~?"([^"]+)"', rule["expr"])
        for pattern in pattern.split("|")
    ]

    assert matchers
    assert [each for each in matchers if not any(re.fullmatch(each, code) for code in codes)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_rule_panel_or_alert_names_the_route_of_a_single_task(path: Path) -> None:
    assert re.findall(r"/v1/\w+", path.read_text(encoding="utf-8")) == []


def test_a_latency_that_an_alert_names_is_the_edge_of_a_bucket() -> None:
    (limit,) = [
        float(match)
        for rule in reading.rules("alert")
        for match in re.findall(r"seconds:p99_rate5m > ([\d.]+)", rule["expr"])
    ]

    assert limit in SECONDS


def test_the_dashboard_explains_the_stages_that_the_gateway_times() -> None:
    page = (TOP / "docs/operations/alerts.md").read_text(encoding="utf-8")

    assert [stage for stage in STAGES if f"`{stage}`" not in page] == []
