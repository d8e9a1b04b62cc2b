"""The dashboards follow the rules of Grafana's dashboard linter, and their links lead on."""

import json
import re
from itertools import combinations, pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.grafana.boards.__main__ import documents
from tests.deploy import reading
from tests.deploy.programs import TOP

DASHBOARDS = [pytest.param(each, id=name) for name, each in reading.dashboards().items()]
SHOWING = [panel for each in reading.dashboards().values() for panel in reading.panels(each)]
PANELS = [pytest.param(panel, id=panel["title"]) for panel in SHOWING]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def selectors(query: str) -> list[str]:
    """Return the label matchers of every exposed series that a query selects; a bare name has none."""
    return [match[1] for match in re.findall(rf"({reading.RAW.pattern})(?:\{{([^}}]*)\}})?", query)]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_the_dashboards_are_what_make_dashboards_writes() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in (reading.GRAFANA / "dashboards").iterdir()}

    assert files == documents()


def test_every_dashboard_is_provisioned_in_kubernetes() -> None:
    made = reading.load("deploy/grafana/kustomization.yaml")["configMapGenerator"]
    (files,) = [each["files"] for each in made if each["name"] == "grafana-dashboards"]

    assert files == [f"dashboards/{name}" for name in sorted(reading.dashboards())]


@pytest.mark.parametrize("overlay", ["overlays/gpu", "overlays/local"])
def test_kubectl_apply_has_room_for_a_copy_of_every_object_in_its_annotation(overlay: str) -> None:
    """Kubernetes rejects an object whose annotations have more than 262,144 bytes."""
    sizes = {each["metadata"]["name"]: len(json.dumps(each)) for each in reading.rendered(overlay)}

    assert [name for name, size in sizes.items() if size > 240_000] == []


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_a_dashboard_leads_to_the_others_and_marks_alerts_and_rollouts(dashboard: dict[str, Any]) -> None:
    (others,) = [link for link in dashboard["links"] if link["type"] == "dashboards"]

    assert all(set(others["tags"]) <= set(each["tags"]) for each in reading.dashboards().values())
    assert others["includeVars"]
    assert others["keepTime"]
    assert [each["name"] for each in dashboard["annotations"]["list"]] == ["Alerts", "Rollouts"]


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_a_dashboard_leads_from_an_id_to_its_logs_and_its_trace(dashboard: dict[str, Any]) -> None:
    urls = {link["title"]: urlsplit(link["url"]) for link in dashboard["links"] if link["type"] == "link"}
    panes = {
        title: json.loads(parse_qs(urls[title].query)["panes"][0])["a"]
        for title in ("Logs of the id", "Trace of the id")
    }
    kinds = {each["name"]: each.get("query") for each in dashboard["templating"]["list"]}

    assert {urls[title].path for title in panes} == {"/explore"}
    assert (kinds["logs"], kinds["traces"], kinds["id"]) == ("loki", "tempo", "")
    assert [pane["datasource"] for pane in panes.values()] == ["${logs}", "${traces}"]
    assert all("${id}" in json.dumps(pane["queries"]) for pane in panes.values())


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_leads_to_the_runbook_of_each_alert_that_it_names(panel: dict[str, Any]) -> None:
    names = [
        rule["alert"] for rule in reading.rules("alert") if re.search(rf"\b{rule['alert']}\b", panel["description"])
    ]

    assert [link["url"] for link in panel["links"]] == [f"${{runbooks}}#{name.lower()}" for name in names]


def test_the_runbooks_of_the_dashboards_are_where_one_setting_says() -> None:
    page = "https://runbooks.example/alerts"
    constants = [
        each["query"]
        for text in documents(page).values()
        for each in json.loads(text)["templating"]["list"]
        if each["name"] == "runbooks"
    ]

    assert constants == [page] * len(reading.dashboards())


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_a_dashboard_is_provisioned_and_not_edited(dashboard: dict[str, Any]) -> None:
    assert dashboard["editable"] is False
    assert dashboard["uid"]
    assert "__inputs" not in dashboard
    assert "${DS_" not in str(dashboard)


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_a_dashboard_lets_the_reader_choose_data_source_job_and_instance(dashboard: dict[str, Any]) -> None:
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}

    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("job", "instance"):
        assert variables[name]["multi"]
        assert variables[name]["includeAll"]
        assert variables[name]["allValue"] == ".+"


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_a_variable_that_is_queried_follows_the_time_range_and_asks_the_chosen_source(
    dashboard: dict[str, Any],
) -> None:
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["refresh"] == 2, "2 is: when the time range changes"
            assert variable["datasource"] == DATASOURCE


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in dashboard["panels"]]
    places = [panel["gridPos"] for panel in dashboard["panels"]]

    assert len(set(numbers)) == len(numbers)
    assert [(one, other) for one, other in combinations(places, 2) if overlap(one, other)] == []
    assert all(place["x"] + place["w"] <= 24 for place in places)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_the_chosen_data_source(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    assert panel["datasource"] == DATASOURCE
    assert all(target["datasource"] == DATASOURCE for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_reads_the_chosen_job_and_instance(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        for matchers in selectors(target["expr"]):
            if 'job="resnest-worker"' in matchers:  # its instances are no gateways
                continue
            assert 'job=~"$job"' in matchers
            assert 'instance=~"$instance"' in matchers
        recorded = re.findall(rf"{reading.RECORDED.pattern}(?:\{{([^}}]*)\}})?", target["expr"])
        assert all('job=~"$job"' in matchers for matchers in recorded), "recorded over all instances"


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_shows_counters_as_rates_over_grafanas_own_interval(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        ranges = re.findall(r"\[([^\]]*)\]", target["expr"])
        counters = re.findall(r"resnest_\w+_(?:total|bucket|sum|count)\b", target["expr"])
        rates = re.findall(r"rate\(resnest_\w+", target["expr"])
        assert set(ranges) <= {"$__rate_interval"}
        assert len(counters) == len(rates) == len(ranges)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_no_thresholds_left_over_from_grafanas_defaults(panel: dict[str, Any]) -> None:
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {"steps": []})["steps"]
    limits = [step["value"] for step in steps if step["value"] is not None]

    assert 80 not in limits
    assert all(lower < upper for lower, upper in pairwise(limits))


def test_the_data_source_has_the_uid_that_dashboards_choose_at_first() -> None:
    (source,) = reading.load("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    for dashboard in reading.dashboards().values():
        (variable,) = [each for each in dashboard["templating"]["list"] if each["name"] == "datasource"]
        assert variable["current"]["value"] == source["uid"]
    assert source["editable"] is False


def test_the_data_source_knows_how_often_prometheus_scrapes() -> None:
    (source,) = reading.load("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    scrape = reading.load("deploy/prometheus/prometheus.yml")["global"]["scrape_interval"]

    assert source["jsonData"]["timeInterval"] == scrape


def test_the_provider_looks_where_the_dashboards_are_mounted() -> None:
    (provider,) = reading.load("deploy/grafana/provisioning/dashboards/files.yml")["providers"]
    compose = reading.load("docker-compose.yml")["services"]["grafana"]["volumes"]

    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in compose
    assert (TOP / "deploy/grafana/dashboards").is_dir()


def test_a_limit_that_a_panel_tells_of_is_that_of_the_alert() -> None:
    alerts = {rule["alert"]: rule["expr"] for rule in reading.rules("alert")}
    named = [
        (name, float(limit) / (100 if percent else 1))
        for panel in SHOWING
        for name, limit, percent in re.findall(r"(\w+) fires above ([\d.]+) ?(%)?", panel["description"])
    ]

    assert named
    for name, limit in named:
        assert float(re.findall(r"> ([\d.]+)", alerts[name])[-1]) == limit
