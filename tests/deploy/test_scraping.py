"""Prometheus finds gateways and workers in the cluster, and only Prometheus reaches their metrics."""

import pytest

from tests.deploy import reading
from tests.deploy.reading import of_kind, pods
from tests.deploy.test_kubernetes import every_overlay, settings


@every_overlay
def test_prometheus_finds_gateways_under_the_name_and_port_of_a_headless_service(overlay: str) -> None:
    found = reading.scraped("resnest-gateway")
    service = of_kind(overlay, "Service")[found["names"][0]]["spec"]
    (gateway,) = pods(overlay)["gateway"]["containers"]

    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    assert found["port"] in {port["containerPort"] for port in gateway["ports"]}


@every_overlay
def test_prometheus_finds_workers_under_the_name_of_their_headless_service(overlay: str) -> None:
    found = reading.scraped("resnest-worker")
    (worker,) = pods(overlay)["worker"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in worker["ports"]}

    assert of_kind(overlay, "Service")[found["names"][0]]["spec"]["clusterIP"] == "None"
    assert found["port"] == ports["metrics"]


@every_overlay
def test_metrics_are_at_a_port_that_callers_do_not_reach(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to = settings(overlay, monkeypatch)
    (gateway,) = pods(overlay)["gateway"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    rules = of_kind(overlay, "NetworkPolicy")["gateway"]["spec"]["ingress"]

    assert ports == {"http": set_to.port, "admin": set_to.admin_port}
    assert [port["targetPort"] for port in of_kind(overlay, "Service")["gateway"]["spec"]["ports"]] == ["http"]
    assert [rule["ports"] for rule in rules if "from" not in rule] == [[{"port": "http"}]]
    assert reading.scraped("resnest-gateway")["port"] == set_to.admin_port
