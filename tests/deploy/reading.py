"""Read the deployment files for the tests: rules, panels, manifests, and the metrics that they query."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from service.gateway.metrics import Metrics
from service.worker.resources.gauges import LOAD_TIME
from service.worker.resources.gpu_report import GAUGES
from tests.deploy.programs import TOP, run

OVERLAYS = ("base", "overlays/gpu", "overlays/local")
PROMETHEUS = TOP / "deploy/prometheus"
GRAFANA = TOP / "deploy/grafana"
KUBERNETES = TOP / "deploy/kubernetes"
# The name of an exposed metric; recorded series have colons, and are checked against the rules that record them.
RAW = re.compile(r"(?<![\w:])resnest_\w+(?![\w:])")
RECORDED = re.compile(r"\b\w+:resnest_\w+:\w+\b")
HISTOGRAM = ("bucket", "sum", "count")

Manifest = Mapping[str, Any]


@cache  # as in `dashboards` and `metrics`: hundreds of tests ask for the same. Do not change what they return.
def load(path: str) -> Any:
    """Parse a YAML file of the project."""
    return yaml.load((TOP / path).read_bytes(), yaml.CSafeLoader)  # 10 times as fast as the loader in Python


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules of a kind, `alert` or `record`, in all rule files."""
    files = [load(str(path)) for path in sorted(PROMETHEUS.glob("rules/*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"] if kind in rule]


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by file name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in GRAFANA.glob("dashboards/*.json")}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels without the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[tuple[str, str]]:
    """Yield every query of every panel, with the panel's title."""
    for dashboard in dashboards().values():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield panel["title"], target["expr"]


def variable_queries() -> Iterator[tuple[str, str]]:
    """Yield the name and the query of every variable of a dashboard whose values Prometheus has."""
    for dashboard in dashboards().values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield variable["name"], variable["query"]["query"]


def scraped(job: str) -> dict[str, Any]:
    """Return how Prometheus finds the targets of a job by DNS."""
    jobs = load("deploy/prometheus/prometheus.yml")["scrape_configs"]
    (found,) = [each["dns_sd_configs"] for each in jobs if each["job_name"] == job]
    return dict(*found)


def adapter_rules() -> list[dict[str, Any]]:
    """Return the rules of prometheus-adapter."""
    return list(load("deploy/prometheus/adapter.yml")["externalRules"])


def adapter_query(rule: Mapping[str, Any]) -> str:
    """Return the query that the adapter sends, with its template filled in without label matchers."""
    return str(rule["metricsQuery"]).replace("<<.Series>>", rule["seriesQuery"]).replace("<<.LabelMatchers>>", "")


def queries() -> list[tuple[str, str]]:
    """Return every query of panels, rules and the adapter, with the name of the panel or rule."""
    asked = [
        (rule.get("alert") or rule["record"], rule["expr"]) for kind in ("alert", "record") for rule in rules(kind)
    ]
    return [*panel_queries(), *asked, *((rule["name"]["as"], adapter_query(rule)) for rule in adapter_rules())]


def series_of(name: str, kind: str) -> list[str]:
    """Return the names of the series of a metric."""
    return {"counter": [f"{name}_total"], "histogram": [f"{name}_{part}" for part in HISTOGRAM]}.get(kind, [name])


@cache
def metrics() -> dict[str, list[str]]:
    """Return the metrics of gateways and workers, each with the names of its series."""
    of_workers = {name: [name] for name, _ in (*GAUGES, LOAD_TIME)}
    defined = [each for each in Metrics().registry.collect() if each.name.startswith("resnest_")]
    return of_workers | {each.name: series_of(each.name, each.type) for each in defined}


def validate(manifest: Manifest, release: str) -> None:
    """Raise kubernetes_validate's `ValidationError` if a manifest does not fit the schemas of a release."""
    import kubernetes_validate  # noqa: PLC0415 - takes 1.5 s, and every process of the tests loads every module

    kubernetes_validate.validate(manifest, release, strict=True)


@cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    """Return the manifests that kustomize renders for an overlay."""
    return tuple(yaml.safe_load_all(run("kustomize", "build", KUBERNETES / overlay)))


def build(components: Iterable[Path], overlay: str = "base", namespace: str = "resnest") -> list[dict[str, Any]]:
    """Return the manifests of an overlay with components, in a namespace."""
    with TemporaryDirectory() as folder:
        top = Path(folder).resolve()
        document = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "resources": [os.path.relpath(KUBERNETES / overlay, top)],
            "components": [os.path.relpath(each, top) for each in components],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        return [*yaml.safe_load_all(run("kustomize", "build", folder))]


def overlay_of(text: str, folder: Path) -> list[dict[str, Any]]:
    """Write a kustomization as `text` has it beside `overlays/gpu` into a folder, and return its manifests."""

    def moved(found: re.Match[str]) -> str:
        return os.path.relpath(KUBERNETES / "overlays/own" / found[0], folder.resolve())

    text = re.sub(r"(?<![\w./])\.\./[\w./-]*", moved, text)
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    return [*yaml.safe_load_all(run("kustomize", "build", folder))]


def autoscaled(manifests: Iterable[Manifest]) -> list[str]:
    """Return the name of the Deployment that each autoscaler scales, of both kinds."""
    kinds = {"HorizontalPodAutoscaler", "ScaledObject"}
    return [each["spec"]["scaleTargetRef"]["name"] for each in manifests if each["kind"] in kinds]


def of_kind(overlay: str, kind: str) -> dict[str, Manifest]:
    """Return an overlay's manifests of a kind by name."""
    return {each["metadata"]["name"]: each for each in rendered(overlay) if each["kind"] == kind}


def pods(overlay: str) -> dict[str, Any]:
    """Return the pod specifications of an overlay's deployments by name."""
    return {name: each["spec"]["template"]["spec"] for name, each in of_kind(overlay, "Deployment").items()}


def selected_names(selector: Mapping[str, Any]) -> list[str]:
    """Return the values of `app.kubernetes.io/name` that a selector of pods takes."""
    label = "app.kubernetes.io/name"
    found = [selector["matchLabels"][label]] if label in selector.get("matchLabels", {}) else []
    listed = [each["values"] for each in selector.get("matchExpressions", ()) if each["key"] == label]
    return [*found, *(name for values in listed for name in values)]


def bytes_of(quantity: str) -> int:
    """Convert a quantity of Kubernetes or compose to bytes: `2Gi` and `2g` are both 2 ** 31."""
    number, unit = re.fullmatch(r"(\d+)([KMGkmg]?)i?", quantity, re.ASCII).groups()  # type: ignore[union-attr]
    return int(number) << {"": 0, "k": 10, "m": 20, "g": 30}[unit.lower()]
