"""The component canary: a second Deployment of gateways, with an image and a share of the traffic of its own."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.kubernetes.canary_rollout import CANARY, JOB, STABLE
from tests.deploy import reading
from tests.deploy.programs import TOP
from tests.deploy.test_components import ALTERNATIVES, COMPONENTS, Manifests, one, with_component

NAME = "app.kubernetes.io/name"
PODS = {STABLE: "gateway-pods", CANARY: "gateway-pods-canary"}  # the Services with an address for each pod


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    return with_component("monitoring", "canary")


def pod(manifests: Manifests, deployment: str) -> dict[str, Any]:
    """Return a copy of the specification of a Deployment's pods."""
    return copy.deepcopy(dict(one(manifests, "Deployment", deployment)["spec"]["template"]["spec"]))


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a selector matches labels, by its own labels and by its expressions with `In`."""
    named = selector.get("matchLabels", {}).items() <= labels.items()
    expressions = selector.get("matchExpressions", [])
    return named and all(each["operator"] == "In" and labels.get(each["key"]) in each["values"] for each in expressions)


def test_the_canary_is_the_same_gateway_with_another_image_and_one_pod(manifests: Manifests) -> None:
    stable, canary = pod(manifests, STABLE), pod(manifests, CANARY)
    for each in (*stable["topologySpreadConstraints"], *canary["topologySpreadConstraints"]):
        each.pop("labelSelector")
    (box,), (other,) = stable["containers"], canary["containers"]

    assert one(manifests, "Deployment", CANARY)["spec"]["replicas"] == 1
    assert (box.pop("image").partition(":")[0], other.pop("image").partition(":")[0]) == (
        "resnest-gateway",
        "resnest-gateway-canary",
    )
    assert canary == stable


def test_neither_deployment_nor_service_nor_budget_takes_the_pods_of_the_other(manifests: Manifests) -> None:
    labels = {
        name: one(manifests, "Deployment", name)["spec"]["template"]["metadata"]["labels"] for name in (STABLE, CANARY)
    }
    for name in (STABLE, CANARY):
        own = one(manifests, "Deployment", name)["spec"]
        services = [one(manifests, "Service", each)["spec"]["selector"] for each in (name, PODS[name])]
        spread = [each["labelSelector"] for each in own["template"]["spec"]["topologySpreadConstraints"]]
        for selector in (own["selector"], *({"matchLabels": each} for each in services), *spread):
            assert {each: selects(selector, labels[each]) for each in labels} == {each: each == name for each in labels}
        budget = one(manifests, "PodDisruptionBudget", name)["spec"]["selector"]
        assert {each: selects(budget, labels[each]) for each in labels} == {each: each == name for each in labels}
    assert CANARY not in reading.autoscaled(manifests)


def test_every_rule_of_the_route_leads_to_the_canary_and_gives_it_nothing_at_first(
    manifests: Manifests,
) -> None:
    rules = one(manifests, "HTTPRoute", "gateway")["spec"]["rules"]
    shares = [[(each["name"], each["port"], each["weight"]) for each in rule["backendRefs"]] for rule in rules]

    assert shares == [[(STABLE, 80, 100), (CANARY, 80, 0)]] * len(rules)
    assert len(rules) == len(one(with_component("gateway-api"), "HTTPRoute", "gateway")["spec"]["rules"])


def test_the_canary_may_reach_and_be_reached_as_the_other_gateways(manifests: Manifests) -> None:
    labels = {name: one(manifests, "Deployment", name)["spec"]["template"]["metadata"]["labels"] for name in PODS}
    policies = {name: one(manifests, "NetworkPolicy", name)["spec"] for name in ("gateway", "worker", "prometheus")}
    selectors = [
        policies["gateway"]["podSelector"],
        policies["worker"]["ingress"][0]["from"][0]["podSelector"],
        policies["prometheus"]["egress"][0]["to"][0]["podSelector"],
    ]

    assert [selects(selector, each) for selector in selectors for each in labels.values()] == [True] * 6
    assert not selects(policies["gateway"]["podSelector"], {NAME: "worker"})


def test_prometheus_scrapes_the_canary_as_a_job_of_its_own(manifests: Manifests) -> None:
    found = reading.scraped(JOB)
    service = one(manifests, "Service", PODS[CANARY])["spec"]
    ports = {port["name"]: port["containerPort"] for port in pod(manifests, CANARY)["containers"][0]["ports"]}

    assert found["names"] == [PODS[CANARY]]
    assert service["clusterIP"] == "None"
    assert found["port"] == ports[service["ports"][0]["targetPort"]]


def test_the_operator_scrapes_the_canary_too_and_may_reach_it() -> None:
    manifests = with_component("canary", "prometheus-operator")
    monitor = one(manifests, "PodMonitor", CANARY)["spec"]
    policy = one(manifests, "NetworkPolicy", "gateway")["spec"]

    assert selects(monitor["selector"], one(manifests, "Deployment", CANARY)["spec"]["template"]["metadata"]["labels"])
    assert {"targetLabel": "job", "replacement": JOB} in monitor["podMetricsEndpoints"][0]["relabelings"]
    assert "namespaceSelector" in policy["ingress"][1]["from"][0]


@pytest.mark.parametrize("other", [name for name in COMPONENTS if {name, "canary"} not in ALTERNATIVES])
def test_what_a_component_lets_gateways_reach_the_canary_may_reach_too(other: str) -> None:
    """Its pods have a label of their own, which a policy of the component must name."""
    manifests = with_component("canary", other)
    policies = [each["spec"]["podSelector"] for each in manifests if each["kind"] == "NetworkPolicy"]
    taken = [
        [
            selects(selector, one(manifests, "Deployment", name)["spec"]["template"]["metadata"]["labels"])
            for selector in policies
        ]
        for name in (STABLE, CANARY)
    ]

    assert taken[0] == taken[1]
    assert taken[0].count(True) >= 2, "that of all pods, and that of gateways"


def test_components_that_change_gateways_change_the_canary_too() -> None:
    manifests = with_component("canary", "traffic", "weights")
    for name in (STABLE, CANARY):
        variables = {each["name"] for each in pod(manifests, name)["containers"][0]["env"]}
        assert {"RESNEST_TRAFFIC_FILE", "RESNEST_MODEL_STORE"} <= variables


def test_the_overlay_of_the_page_gives_each_gateway_its_image(tmp_path: Path) -> None:
    page = (TOP / "docs/operations/rollouts.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)

    manifests = reading.overlay_of(text, tmp_path)

    images = [pod(manifests, name)["containers"][0]["image"] for name in (STABLE, CANARY)]
    assert images == ["registry.example/vision/resnest-gateway:0.1.0", "registry.example/vision/resnest-gateway:0.2.0"]
