"""Build dashboards: variables, annotations, and links to the others, to runbooks, logs and traces."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.boards.panels import SOURCE, Board

TAG = "resnest"
RUNBOOKS = "docs/operations/alerts.md"
# Where a label's values come from.
VALUES = {
    "job": "resnest_build_info",
    "instance": 'resnest_build_info{job=~"$job"}',
    "route": 'resnest_http_requests_total{job=~"$job"}',
    "model": 'resnest_workers_configured{job=~"$job"}',
}
ALL = models.VariableOption(selected=True, text=["All"], value=["$__all"])
# The labels that Loki derives itself from the names of pods and containers.
PROCESSES = '{service_name=~".*(gateway|worker).*"}'
VERSIONS = 'count by (version) (resnest_build_info{job=~"$job"})'
# Each with what it says at the mark.
ANNOTATIONS = {
    "Alerts": ('ALERTS{alertstate="firing", job=~"$job"}', "{{alertname}} {{model}}{{route}}", "red"),
    "Rollouts": (f"{VERSIONS} unless {VERSIONS.replace('}', '} offset 5m')}", "version {{version}}", "blue"),
}


def document(board: Board, runbooks: str = RUNBOOKS) -> str:
    """Return the dashboard as JSON. `runbooks` is the URL of the page with the section of each alert."""
    built = dashboard.Dashboard(board.title).uid(board.uid).description(board.description).tags([TAG])
    built = built.readonly().timezone("browser").time("now-1h", "now").refresh("30s")
    built = built.tooltip(models.DashboardCursorSync.CROSSHAIR)
    built = built.links([*_links(board)]).variables([*_variables(board, runbooks)]).annotations([*_annotations()])
    number = 0
    for row in board.rows:
        number += 1
        built = built.with_row(dashboard.Row(row.title).id(number))
        for panel, width in row.widths():
            number += 1
            built = built.with_panel(panel.build(number, width))
    found: dict[str, Any] = json.loads(JSONEncoder().encode(built.build()))
    for annotation in found["annotations"]["list"]:  # the schema leaves out what a data source adds
        annotation["titleFormat"] = ANNOTATIONS[annotation["name"]][1]
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _variables(board: Board, runbooks: str) -> "Iterator[Any]":
    first = models.VariableOption(selected=True, text="Prometheus", value="prometheus")
    yield dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus").current(first)
    for name in ("job", "instance", *board.labels):
        query = {"query": f"label_values({VALUES[name]}, {name})", "refId": f"Prometheus-{name}", "qryType": 1}
        chosen = dashboard.QueryVariable(name).label(name).datasource(SOURCE).query(query).current(ALL)
        chosen = chosen.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        yield chosen.sort(models.VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True).all_value(".+")
    for box in board.boxes:
        yield dashboard.TextBoxVariable(box.name).label(box.label).default_value(box.value)
    yield dashboard.TextBoxVariable("id").label("Request or trace id").default_value("")
    for name, kind in (("logs", "loki"), ("traces", "tempo")):
        yield dashboard.DatasourceVariable(name).label(name).type(kind).hide(models.VariableHide.HIDE_VARIABLE)
    yield dashboard.ConstantVariable("runbooks").value(runbooks)


def _annotations() -> Iterator[dashboard.AnnotationQuery]:
    for name, (query, _, colour) in ANNOTATIONS.items():
        yield dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(query)


def _links(board: Board) -> Iterator[dashboard.DashboardLink]:
    """Yield the links of a dashboard: the others, the runbooks, and the logs and the trace of a request."""
    others = dashboard.DashboardLink("Dashboards").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    yield others.as_dropdown(True).include_vars(True).keep_time(True)
    logs = {"refId": "A", "expr": f"{PROCESSES} |= `${{id}}`"}
    trace = {"refId": "A", "queryType": "traceql", "query": "${id}"}
    for title, url in (
        ("Runbooks", "${runbooks}"),
        ("Logs of the id", _explore("${logs}", logs)),
        ("Trace of the id", _explore("${traces}", trace)),
    ):
        link = dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)
        yield link.target_blank(True).keep_time(title != "Runbooks")


def _explore(source: str, query: dict[str, str]) -> str:
    """Return a link to Grafana's page Explore with a query, in which the dashboard's variables are filled in."""
    panes = {"a": {"datasource": source, "queries": [query], "range": {"from": "now-6h", "to": "now"}}}
    return f"/explore?schemaVersion=1&orgId=1&panes={quote(json.dumps(panes), safe='${}')}"
