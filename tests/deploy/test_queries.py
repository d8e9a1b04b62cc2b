"""Every query of the dashboard, rules and adapter returns data from a real Prometheus that scrapes a real gateway."""

import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from service.config.settings import Settings
from service.gateway.app import create_app
from service.worker.resources.gauges import LOAD_TIME
from service.worker.resources.gpu_report import GAUGES
from tests.deploy import reading
from tests.deploy.devices import KUBE_STATE, PROMETHEUS, exposed, of_dcgm, of_worker
from tests.deploy.live import JOB, Model, Prometheus, scraped, served, until
from tests.deploy.programs import program
from tests.stores import write_store

ENOUGH = 6  # rounds with two rejections and two failures each: alerts want ten
ROUTES = ("/v1/classify?model=tiny-classifier", "/v1/segment?model=tiny-segmenter")
COLOURS = ("red", "black", "white")
CHOSEN = {"$__rate_interval": "1m", "$job": JOB, "$instance": ".+", "$route": ".+", "$model": ".+"}
VARIABLES = {**CHOSEN, "$knee": "100", "$target": "8", "$price": "1"}


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "PNG")
    return file.getvalue()


def use(address: str) -> None:
    """Send images that are answered, rejected and failed, a corrupt one, and a request to an unknown path."""
    bodies = [*(png(colour) for colour in COLOURS), png("red")[:60]]
    for route in ROUTES:
        for body in bodies:
            httpx.post(f"http://{address}{route}", content=body, headers={"Content-Type": "image/png"})
    httpx.get(f"http://{address}/nothing")


def shadowed(store: Path) -> Path:
    """Add a second version of the classifier, and return a traffic file that shadows every image to it."""
    (store / "next").mkdir()
    for file in (store / "tiny-classifier").iterdir():
        text = file.read_text(encoding="utf-8").replace('version = "1.0"', 'version = "1.1"')
        (store / "next" / file.name).write_text(text, encoding="utf-8")
    traffic = store / "traffic.toml"
    traffic.write_text(
        '[tiny-classifier]\nweights = { "1.0" = 1 }\nshadow = { version = "1.1", share = 1 }\n', encoding="utf-8"
    )
    return traffic


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = write_store(tmp_path_factory.mktemp("store"), "tiny-classifier", "tiny-segmenter", weights=False)
    with served(create_app(Settings(model_store=store, traffic_file=shadowed(store)), Model())) as found:
        use(found)
        yield found


@pytest.fixture(scope="module")
def prometheus(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with (
        exposed(of_worker()) as worker,
        exposed(of_dcgm()) as dcgm,
        exposed(KUBE_STATE) as kube,
        exposed(PROMETHEUS) as itself,
        scraped(
            address,
            tmp_path_factory.mktemp("prometheus"),
            resnest_worker=worker,
            dcgm=dcgm,
            kube=kube,
            resnest_prometheus=itself,
        ) as found,
    ):
        until(lambda: found.ask('count_over_time(up{job="resnest-gateway"}[1m]) > 3'), "there are scrapes")
        for _ in range(ENOUGH):
            use(address)
        recorded = [rule["record"] for rule in reading.rules("record")]
        until(lambda: all(found.ask(name) for name in recorded), "every recording rule records")
        yield found


def filled(query: str) -> str:
    """Return a panel's query with its variables filled in."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def condition(alert: str) -> str:
    """Return an alert's condition as a query that returns data whether or not the condition holds."""
    if found := re.fullmatch(r"absent\((.*)\)", alert.strip()):
        return found[1]
    last = list(re.finditer(r" (>|<|==) (?=\S+$)", alert.strip()))[-1]
    return f"{alert[: last.end()]} bool {alert[last.end() :]}"


@pytest.mark.parametrize("query", [pytest.param(query, id=title) for title, query in reading.panel_queries()])
def test_every_panel_shows_something(query: str, prometheus: Prometheus) -> None:
    values = [series["value"][1] for series in prometheus.ask(filled(query))]

    assert [value for value in values if value != "NaN"]


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["record"]) for rule in reading.rules("record")])
def test_every_recording_rule_finds_something(rule: dict[str, str], prometheus: Prometheus) -> None:
    assert prometheus.ask(rule["expr"])


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in reading.rules("alert")])
def test_every_alert_has_something_to_judge(rule: dict[str, str], prometheus: Prometheus) -> None:
    assert prometheus.ask(condition(rule["expr"]))


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["name"]["as"]) for rule in reading.adapter_rules()])
def test_every_metric_of_the_autoscaler_is_one_number(rule: dict[str, str], prometheus: Prometheus) -> None:
    assert len(prometheus.ask(reading.adapter_query(rule))) == 1


@pytest.mark.parametrize(("name", "query"), sorted(set(reading.variable_queries())))
def test_every_variable_of_the_dashboards_has_values(name: str, query: str, prometheus: Prometheus) -> None:
    found = re.fullmatch(rf"label_values\((.*), {name}\)", query)

    assert found is not None
    assert prometheus.ask(filled(found[1]))
    assert all(series["metric"].get(name) for series in prometheus.ask(filled(found[1])))


def test_every_variable_in_a_query_is_one_of_its_dashboard() -> None:
    for dashboard in reading.dashboards().values():
        names = {each["name"] for each in dashboard["templating"]["list"]}
        asked = [target["expr"] for panel in reading.panels(dashboard) for target in panel["targets"]]
        used = {name for query in asked for name in re.findall(r"\$(\w+)", query)}
        assert used <= names | {"__rate_interval"}


def test_the_alerts_that_are_on_their_way_are_marked_once_they_fire(prometheus: Prometheus) -> None:
    """An alert fires after minutes at the earliest, so the mark is asked for what is pending."""
    for dashboard in reading.dashboards().values():
        marks = {each["name"]: filled(each["expr"]) for each in dashboard["annotations"]["list"]}
        assert prometheus.ask(marks["Alerts"].replace("firing", "pending"))
        assert prometheus.ask(marks["Rollouts"])


def test_no_alert_but_those_of_what_was_done_is_on_its_way(prometheus: Prometheus) -> None:
    """A quarter of the images was rejected, a quarter failed, and a GPU has had an error; nothing else is wrong."""
    pending = {series["metric"]["alertname"] for series in prometheus.ask("ALERTS")}

    budget = {"ErrorBudgetBurningFast", "ErrorBudgetBurningSlowly"}
    assert pending == {"GatewayErrors", "ImagesFailing", "Overloaded", "GpuXid"} | budget


def test_the_running_service_exposes_every_metric_that_is_asked_for(address: str) -> None:
    exposed = set(re.findall(r"^(resnest_\w+)", httpx.get(f"http://{address}/metrics").text, re.MULTILINE))

    asked = {name for _, query in reading.queries() for name in reading.RAW.findall(query)}

    assert asked <= exposed | {name for name, _ in (*GAUGES, LOAD_TIME)}


def test_promtool_finds_no_fault_in_what_the_service_exposes(address: str) -> None:
    text = httpx.get(f"http://{address}/metrics").content
    done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()
