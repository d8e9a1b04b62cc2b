"""Each optional component renders on the base, is valid, and fits the manifests and the settings that it changes."""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.prometheus import operator_rules
from service.config.settings import Settings
from service.measure.capacity import component
from service.measure.capacity.sizing import Sizing
from tests.deploy import reading
from tests.deploy.programs import TOP, run
from tests.deploy.test_kubernetes import RELEASES, SCALED

COMPONENTS = sorted(path.name for path in (reading.KUBERNETES / "components").iterdir())
# Of the cluster, not of a namespace.
CLUSTER_WIDE = ("Namespace", "PriorityClass")
# Their schemas are not among those of Kubernetes itself.
CUSTOM = ("HTTPRoute", "ScaledObject", "PodMonitor", "PrometheusRule")
NEEDS = {
    "canary": ("gateway-api",),
    "prometheus-volume": ("monitoring",),
    "gpu-dcgm": ("monitoring",),
    "gpu-mig": ("gpu",),
    "gpu-time-slicing": ("gpu",),
    "gpu-product": ("gpu",),
    "gpu-runtime-class": ("gpu",),
}

# An overlay names one of each set.
ALTERNATIVES = (
    frozenset({"monitoring", "prometheus-operator"}),  # both have Grafana's files
    frozenset({"weights", "weights-fetch", "weights-oci"}),
    frozenset({"sidecar-gateway", "no-shared-worker"}),  # the second removes the pods that the first adds to
    frozenset({"sidecar-gateway", "canary"}),  # the first removes the gateways beside which the second is
)
FIRST = "sidecar-gateway"  # before those that change the gateway's container
# Whose fields the oldest release of the tests does not know.
SINCE = {"weights-oci": "1.33"}

Manifests = list[dict[str, Any]]


def together(names: Iterable[str]) -> tuple[str, ...]:
    """Return components with those that they need, each once and in an order in which they render."""
    needed = dict.fromkeys(each for name in names for each in (*NEEDS.get(name, ()), name))
    return tuple(sorted(needed, key=lambda name: name != FIRST))


@cache
def with_component(*names: str) -> Manifests:
    """Return the manifests of the base with these components, and with those that they need."""
    return reading.build(reading.KUBERNETES / "components" / each for each in together(names))


def one(manifests: Manifests, kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


every_component = pytest.mark.parametrize("name", COMPONENTS)


@every_component
def test_a_component_is_valid_to_the_schemas_of_kubernetes_and_in_the_namespace(name: str) -> None:
    base = reading.rendered("base")
    for manifest in with_component(name):
        if manifest["kind"] not in CUSTOM and manifest not in base:
            reading.validate(manifest, SINCE.get(name, RELEASES[0]))
        if manifest["kind"] not in CLUSTER_WIDE:
            assert manifest["metadata"]["namespace"] == "resnest"


@every_component
def test_every_pod_of_a_component_meets_the_restricted_standard(name: str) -> None:
    for manifest in with_component(name):
        if manifest["kind"] in {"Deployment", "Job"}:
            pod = manifest["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["automountServiceAccountToken"] is False
            for box in (*pod["containers"], *pod.get("initContainers", [])):
                assert box["securityContext"]["capabilities"] == {"drop": ["ALL"]}
                assert box["securityContext"]["readOnlyRootFilesystem"] is True


@every_component
def test_no_image_of_a_component_is_named_by_a_tag_that_moves(name: str) -> None:
    for manifest in with_component(name):
        if manifest["kind"] in {"Deployment", "Job"}:
            pod = manifest["spec"]["template"]["spec"]
            for box in (*pod["containers"], *pod.get("initContainers", [])):
                assert re.search(r":v?\d+\.\d+", box["image"]), box["image"]


@pytest.mark.parametrize("deployment", SCALED)
def test_pods_that_callers_wait_for_take_the_place_of_others(deployment: str) -> None:
    base = with_component("warm-spare")
    name = one(base, "Deployment", deployment)["spec"]["template"]["spec"]["priorityClassName"]
    spare = one(base, "Deployment", "spare")["spec"]["template"]["spec"]

    assert (
        one(base, "PriorityClass", name)["value"] > 0 > one(base, "PriorityClass", spare["priorityClassName"])["value"]
    )


def test_the_spare_holds_what_a_worker_on_a_gpu_asks_for() -> None:
    (worker,) = reading.pods("overlays/gpu")["worker"]["containers"]
    (spare,) = one(with_component("warm-spare"), "Deployment", "spare")["spec"]["template"]["spec"]["containers"]

    assert spare["resources"]["limits"]["nvidia.com/gpu"] == worker["resources"]["limits"]["nvidia.com/gpu"]
    assert spare["resources"]["requests"] == worker["resources"]["requests"]


def test_keda_scales_workers_alone_with_the_numbers_of_the_autoscaler_that_it_replaces() -> None:
    manifests = with_component("keda")
    spec = one(manifests, "ScaledObject", "worker")["spec"]
    replaced = reading.of_kind("base", "HorizontalPodAutoscaler")["worker"]["spec"]
    (metric,) = replaced["metrics"]

    assert [each["metadata"]["name"] for each in manifests if each["kind"] == "HorizontalPodAutoscaler"] == ["gateway"]
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == replaced["behavior"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (replaced["minReplicas"], replaced["maxReplicas"])
    assert spec["triggers"][0]["metadata"]["threshold"] == metric["external"]["target"]["averageValue"]
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert {each["metadata"]["ignoreNullValues"] for each in spec["triggers"]} == {"false"}, "else no metric is no load"


@every_component
def test_a_deployment_has_an_autoscaler_of_one_kind_at_most(name: str) -> None:
    targets = reading.autoscaled(with_component(name))

    assert sorted(targets) == sorted({*targets})


@pytest.mark.parametrize("other", [each for each in COMPONENTS if {each, "no-shared-worker"} not in ALTERNATIVES])
def test_without_the_workers_of_all_models_nothing_is_left_that_scales_or_guards_them(other: str) -> None:
    manifests = with_component(*sorted({other, "no-shared-worker"}, key="no-shared-worker".__eq__))
    deployments = [each for each in manifests if each["kind"] == "Deployment"]
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in deployments]
    budgets = [each["spec"]["selector"]["matchLabels"] for each in manifests if each["kind"] == "PodDisruptionBudget"]

    assert "worker" not in {each["metadata"]["name"] for each in deployments}
    assert {*reading.autoscaled(manifests)} <= {each["metadata"]["name"] for each in deployments}
    assert all(any(budget.items() <= labels.items() for labels in pods) for budget in budgets)


def test_the_release_of_keda_that_is_asked_for_knows_the_fallback() -> None:
    """An older one ignores `behavior`, and removes workers while Prometheus does not answer."""
    places = (reading.KUBERNETES / "components/keda/kustomization.yaml", TOP / "docs/operations/scale.md")
    named = [re.findall(r"KEDA (\d+)\.(\d+) or newer", path.read_text(encoding="utf-8")) for path in places]

    assert [[tuple(map(int, release)) for release in found] for found in named] == [[(2, 17)], [(2, 17)]]


def test_keda_and_the_adapter_ask_for_the_same() -> None:
    asked = [
        each["metadata"]["query"] for each in one(with_component("keda"), "ScaledObject", "worker")["spec"]["triggers"]
    ]

    assert asked == [reading.adapter_query(rule).replace("{}", "") for rule in reading.adapter_rules()]
    assert [rule["name"]["as"] for rule in reading.adapter_rules()] == [component.IN_FLIGHT, component.OFFERED]


def test_a_way_in_takes_every_upload_and_sends_it_once() -> None:
    annotations = one(with_component("ingress"), "Ingress", "gateway")["metadata"]["annotations"]
    of_nginx = {key.removeprefix("nginx.ingress.kubernetes.io/"): value for key, value in annotations.items()}

    assert reading.bytes_of(of_nginx["proxy-body-size"]) == Settings.model_fields["max_upload_bytes"].default
    assert of_nginx["proxy-next-upstream"] == "off"


def test_a_way_in_leads_to_the_callers_port_and_never_to_the_administrators() -> None:
    rules = one(with_component("gateway-api"), "HTTPRoute", "gateway")["spec"]["rules"]
    (path,) = one(with_component("ingress"), "Ingress", "gateway")["spec"]["rules"][0]["http"]["paths"]
    (port,) = reading.of_kind("base", "Service")["gateway"]["spec"]["ports"]

    assert [rule["backendRefs"] for rule in rules] == [[{"name": "gateway", "port": port["port"]}]] * 2
    assert path["backend"]["service"] == {"name": "gateway", "port": {"name": port["name"]}}


def test_the_traffic_file_changes_without_a_restart() -> None:
    manifests = with_component("traffic")
    (box,) = one(manifests, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"]
    (mount,) = [each for each in box["volumeMounts"] if each["name"] == "traffic"]

    assert "subPath" not in mount
    assert {"name": "RESNEST_TRAFFIC_FILE", "value": f"{mount['mountPath']}/traffic.toml"} in box["env"]
    assert one(manifests, "ConfigMap", "traffic")["data"]["traffic.toml"]


def test_prometheus_keeps_its_samples_on_a_volume_that_is_large_enough() -> None:
    manifests = with_component("prometheus-volume")
    pod = one(manifests, "Deployment", "prometheus")["spec"]["template"]["spec"]
    claim = one(manifests, "PersistentVolumeClaim", "prometheus")["spec"]["resources"]["requests"]["storage"]
    (size,) = [each.split("=")[1] for each in pod["containers"][0]["args"] if "retention.size" in each]

    assert [
        each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each
    ] == ["prometheus"]
    assert reading.bytes_of(size.removesuffix("B")) <= 0.8 * reading.bytes_of(claim)


@pytest.mark.parametrize("autoscaler", ["hpa", "keda"])
def test_what_capacity_writes_sets_the_numbers_of_a_deployment(
    autoscaler: component.Autoscaler, tmp_path: Path
) -> None:
    sizing = Sizing(in_flight_target=2.2, images_per_s_target=35, max_in_flight=200, max_gateways=4)
    component.write(tmp_path / "capacity", sizing, 6, autoscaler, "Written by a test.")
    below = [reading.KUBERNETES / "components/keda"] if autoscaler == "keda" else []

    manifests = reading.build([*below, tmp_path / "capacity"])

    (settings,) = [each["data"] for each in manifests if each["kind"] == "ConfigMap"]
    assert settings["RESNEST_MAX_IN_FLIGHT"] == "200"
    assert one(manifests, "HorizontalPodAutoscaler", "gateway")["spec"]["maxReplicas"] == 4
    if autoscaler == "keda":
        spec = one(manifests, "ScaledObject", "worker")["spec"]
        assert (spec["maxReplicaCount"], [each["metadata"]["threshold"] for each in spec["triggers"]]) == (
            6,
            ["2.2", "35.0"],
        )
        return
    spec = one(manifests, "HorizontalPodAutoscaler", "worker")["spec"]
    reading.validate(one(manifests, "HorizontalPodAutoscaler", "worker"), RELEASES[0])
    assert spec["maxReplicas"] == 6
    assert [each["external"]["target"]["averageValue"] for each in spec["metrics"]] == ["2200m", "35000m"]


def test_the_operators_rules_are_those_of_the_files() -> None:
    file = reading.KUBERNETES / "components/prometheus-operator/rules.yaml"

    written = operator_rules.document(operator_rules.links())
    assert file.read_text(encoding="utf-8") == written, "run make objectives"
    assert sum(len(group["rules"]) for group in yaml.safe_load(written)["spec"]["groups"]) == len(
        [*reading.rules("alert"), *reading.rules("record")]
    )


def test_the_operators_alerts_have_links_without_a_label_of_the_clusters_prometheus() -> None:
    addresses = {"RUNBOOKS_URL": "https://runbooks.example/alerts.md", "DASHBOARDS_URL": "https://grafana.example"}
    groups = yaml.safe_load(operator_rules.document(addresses))["spec"]["groups"]
    alerts = [rule["annotations"] for group in groups for rule in group["rules"] if "alert" in rule]

    assert operator_rules.links().keys() == addresses.keys()
    assert len(alerts) == len(reading.rules("alert"))
    assert {each["runbook_url"].partition("#")[0] for each in alerts} == {addresses["RUNBOOKS_URL"]}
    assert {each["dashboard_url"].partition("/d/")[0] for each in alerts} == {addresses["DASHBOARDS_URL"]}
    assert "externalLabels" not in operator_rules.document(addresses)


@pytest.mark.parametrize("pods", SCALED)
def test_the_operator_scrapes_as_prometheus_does_and_may_reach_the_pods(pods: str) -> None:
    manifests = with_component("prometheus-operator")
    (endpoint,) = one(manifests, "PodMonitor", pods)["spec"]["podMetricsEndpoints"]
    limits = reading.load("deploy/prometheus/prometheus.yml")["global"]
    (box,) = one(manifests, "Deployment", pods)["spec"]["template"]["spec"]["containers"]
    (scraped,) = [
        rule
        for rule in one(manifests, "NetworkPolicy", pods)["spec"]["ingress"]
        if rule["ports"] == [{"port": endpoint["port"]}]
    ]
    ports = {port["name"]: port["containerPort"] for port in box["ports"]}

    assert {"targetLabel": "job", "replacement": f"resnest-{pods}"} in endpoint["relabelings"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == (limits["scrape_interval"], limits["scrape_timeout"])
    assert ports[endpoint["port"]] == reading.scraped(f"resnest-{pods}")["port"]
    assert "namespaceSelector" in scraped["from"][0]


def test_the_overlay_of_the_page_pulls_images_by_digest_from_a_registry(tmp_path: Path) -> None:
    page = (TOP / "docs/operations/install.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    overlay = os.path.relpath(reading.KUBERNETES / "overlays/gpu", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(text.replace("../gpu", overlay), encoding="utf-8")

    for manifest in yaml.safe_load_all(run("kustomize", "build", tmp_path)):
        if manifest["kind"] == "Deployment" and manifest["metadata"]["name"] in SCALED:
            pod = manifest["spec"]["template"]["spec"]
            assert pod["imagePullSecrets"] == [{"name": "registry"}]
            assert all(
                re.fullmatch(r"registry\.example/[\w/-]+@sha256:\w{64}", box["image"]) for box in pod["containers"]
            )
