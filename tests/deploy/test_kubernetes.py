"""The rendered manifests are valid for Kubernetes, correct beyond the schemas, and consistent with the code."""

import re
from typing import Any

import pytest

from deploy.kubernetes.canary_rollout import CANARY
from service import __version__
from service.config import cores
from service.config.settings import Settings
from service.gateway.uploads.decode_queue import SMALL_PIXELS
from tests.deploy import reading
from tests.deploy.reading import OVERLAYS, bytes_of, of_kind, pods, rendered

RELEASES = ("1.30", "1.37")
MEBIBYTE = 1 << 20
SCALED = ("gateway", "worker")

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def containers(overlay: str) -> list[dict[str, Any]]:
    return [container for pod in pods(overlay).values() for container in pod["containers"]]


def environment(overlay: str) -> dict[str, str]:
    """Return the gateway's settings in its ConfigMap."""
    (found,) = [each["data"] for name, each in of_kind(overlay, "ConfigMap").items() if name.startswith("gateway-")]
    return dict(found)


def settings(overlay: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment(overlay).items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("release", RELEASES)
@every_overlay
def test_every_manifest_is_valid_to_the_schemas_of_a_release(overlay: str, release: str) -> None:
    for manifest in rendered(overlay):
        reading.validate(manifest, release)


@every_overlay
def test_every_manifest_has_its_namespace_and_says_what_it_is_part_of(overlay: str) -> None:
    for manifest in rendered(overlay):
        metadata = manifest["metadata"]
        if manifest["kind"] != "PriorityClass":  # which belongs to the cluster
            assert metadata.get("namespace", metadata["name"]) == "resnest"
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "resnest-service"


@every_overlay
def test_the_namespace_admits_only_restricted_pods(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace").values()

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_overlay
def test_every_pod_meets_the_restricted_standard(overlay: str) -> None:
    for pod in pods(overlay).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(overlay):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@every_overlay
def test_memory_is_asked_for_as_it_is_limited_and_every_container_asks_for_cpu(overlay: str) -> None:
    for container in containers(overlay):
        asked, limited = container["resources"]["requests"], container["resources"]["limits"]
        assert asked["memory"] == limited["memory"]
        assert asked["cpu"]


@every_overlay
def test_every_deployment_selects_its_own_pods(overlay: str) -> None:
    for deployment in of_kind(overlay, "Deployment").values():
        spec = deployment["spec"]
        assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


@every_overlay
def test_every_volume_that_is_mounted_is_there_and_every_one_there_is_mounted(overlay: str) -> None:
    for pod in pods(overlay).values():
        mounted = {mount["name"] for each in pod["containers"] for mount in each.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])}


@every_overlay
def test_every_configuration_that_a_pod_names_is_rendered(overlay: str) -> None:
    made = set(of_kind(overlay, "ConfigMap"))
    for pod in pods(overlay).values():
        volumes = {volume["configMap"]["name"] for volume in pod.get("volumes", []) if "configMap" in volume}
        sources = {each["configMapRef"]["name"] for box in pod["containers"] for each in box.get("envFrom", [])}
        assert volumes | sources <= made


@every_overlay
def test_services_and_network_policies_reach_ports_that_pods_have(overlay: str) -> None:
    names = {
        name: {port["name"] for each in pod["containers"] for port in each["ports"]}
        for name, pod in pods(overlay).items()
    }
    for service in of_kind(overlay, "Service").values():
        (selected,) = service["spec"]["selector"].values()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names[selected]
    for policy in of_kind(overlay, "NetworkPolicy").values():
        for rule in policy["spec"].get("ingress", []):
            selected = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
            assert {port["port"] for port in rule["ports"]} <= names[selected]
        for rule in policy["spec"].get("egress", []):
            for target in rule["to"]:
                if selected := reading.selected_names(target.get("podSelector", {})):
                    assert {port["port"] for port in rule["ports"]} <= set[str]().union(
                        *(names[each] for each in selected if each != CANARY)  # of components/canary
                    )


@every_overlay
def test_only_gateways_reach_workers_prometheus_reaches_their_metrics_and_workers_reach_nobody(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    allowed = {
        port["port"]: each["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for rule in policies["worker"]["spec"]["ingress"]
        for each in rule["from"]
        for port in rule["ports"]
    }

    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert allowed == {"inference": "gateway", "management": "gateway", "metrics": "prometheus"}
    assert "egress" not in policies["worker"]["spec"]
    assert "Egress" in policies["worker"]["spec"]["policyTypes"]


@pytest.mark.parametrize("name", SCALED)
def test_a_deployment_that_is_scaled_leaves_its_number_of_pods_to_the_autoscaler(name: str) -> None:
    scaler = of_kind("base", "HorizontalPodAutoscaler")[name]["spec"]

    assert "replicas" not in of_kind("base", "Deployment")[name]["spec"]
    assert scaler["scaleTargetRef"]["name"] == name
    assert scaler["minReplicas"] >= 2
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300


@pytest.mark.parametrize("name", SCALED)
def test_a_node_can_be_drained_while_the_fewest_pods_run(name: str) -> None:
    budget = of_kind("base", "PodDisruptionBudget")[name]["spec"]

    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == of_kind("base", "Deployment")[name]["spec"]["selector"]


def test_workers_scale_on_a_metric_that_the_adapter_makes() -> None:
    (metric,) = of_kind("base", "HorizontalPodAutoscaler")["worker"]["spec"]["metrics"]

    assert metric["external"]["metric"]["name"] in {rule["name"]["as"] for rule in reading.adapter_rules()}
    assert metric["external"]["target"]["type"] == "AverageValue"


def test_a_worker_waits_for_all_its_models_for_a_bounded_time_and_stays_ready_with_any_of_them() -> None:
    (worker,) = pods("base")["worker"]["containers"]
    probe = ["python", "-m", "service.host.health"]
    *command, seconds = worker["startupProbe"]["exec"]["command"]
    allowed_s = worker["startupProbe"]["periodSeconds"] * worker["startupProbe"]["failureThreshold"]
    assert command == [*probe, "--all-for"]
    assert int(seconds) <= allowed_s / 2, "the pod must become ready before it is killed"
    assert worker["readinessProbe"]["exec"]["command"] == [*probe, "--require", "any"]


@every_overlay
def test_no_state_of_a_model_restarts_a_worker(overlay: str) -> None:
    """A restart ends every model of the pod. `/ping` fails once one of them has failed for long."""
    (worker,) = pods(overlay)["worker"]["containers"]

    assert worker["livenessProbe"]["httpGet"] == {"path": "/models?limit=1", "port": "management"}


def test_the_gateway_is_ready_by_readyz_and_alive_by_livez() -> None:
    (gateway,) = pods("base")["gateway"]["containers"]

    assert gateway["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert gateway["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}


@every_overlay
def test_where_prometheus_runs_its_alerts_are_sent(overlay: str) -> None:
    if "prometheus" not in of_kind(overlay, "Deployment"):
        return
    (names,) = [
        each["dns_sd_configs"] for each in reading.load("deploy/prometheus/prometheus.yml")["alerting"]["alertmanagers"]
    ]
    services = of_kind(overlay, "Service")

    assert {name for each in names for name in each["names"]} <= services.keys()
    assert {each["port"] for each in names} == {port["port"] for port in services["alertmanager"]["spec"]["ports"]}


@every_overlay
def test_every_variable_of_the_gateway_is_a_setting(overlay: str) -> None:
    known = {f"RESNEST_{name.upper()}" for name in Settings.model_fields}

    assert environment(overlay).keys() <= known


@every_overlay
def test_the_gateway_asks_for_keys_of_a_secret_that_may_change_while_it_runs(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pods(overlay)["gateway"]
    (gateway,) = pod["containers"]
    for variable in gateway["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    set_to = settings(overlay, monkeypatch)
    (mount,) = [each for each in gateway["volumeMounts"] if each["name"] == "keys"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "keys"]

    assert set_to.authenticates_callers
    assert not set_to.allow_no_keys
    assert str(set_to.keys_file) == f"{mount['mountPath']}/api-keys"
    assert "subPath" not in mount
    assert "optional" not in volume["secret"]


@every_overlay
def test_the_gateways_memory_holds_what_its_settings_let_in(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to = settings(overlay, monkeypatch)
    (gateway,) = pods(overlay)["gateway"]["containers"]
    # Measured: 19 bytes a pixel for a lossless WebP in each decode process, 5 for a mask in each encode thread.
    decoded = set_to.decode_processes * (set_to.max_pixels + SMALL_PIXELS) * 20
    encoded = set_to.encode_threads * set_to.max_pixels * 5
    idle = 300 * MEBIBYTE

    assert idle + set_to.max_buffered_bytes + decoded + encoded <= bytes_of(gateway["resources"]["limits"]["memory"])


@every_overlay
def test_the_gateway_asks_the_workers_at_the_ports_of_their_service(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to = settings(overlay, monkeypatch)
    service = of_kind(overlay, "Service")["worker"]["spec"]
    ports = {port["name"]: port["port"] for port in service["ports"]}
    (worker,) = pods(overlay)["worker"]["containers"]

    assert service["clusterIP"] == "None", "gateways see every worker and choose between them"
    assert ports == {port["name"]: port["containerPort"] for port in worker["ports"] if port["name"] != "metrics"}
    assert set_to.inference_url == f"http://worker:{ports['inference']}"
    assert set_to.management_url == f"http://worker:{ports['management']}"


def test_a_gpu_worker_gives_its_gpu_back_before_the_next_one_starts() -> None:
    worker = of_kind("overlays/gpu", "Deployment")["worker"]["spec"]
    (box,) = worker["template"]["spec"]["containers"]

    assert box["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert worker["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert worker["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"


@every_overlay
def test_a_cpu_limit_or_a_variable_tells_the_engine_how_many_threads_to_use(overlay: str) -> None:
    (worker,) = pods(overlay)["worker"]["containers"]
    variables = {each["name"]: each["value"] for each in worker.get("env", [])}
    stated = variables.get(cores.THREADS) or worker["resources"]["limits"]["cpu"]

    assert stated == worker["resources"]["requests"]["cpu"]


@every_overlay
def test_no_image_is_named_by_a_tag_that_moves(overlay: str) -> None:
    for container in containers(overlay):
        tag = container["image"].rpartition("/")[2].partition(":")[2]
        assert tag == "local" or re.match(r"v?\d+\.\d+", tag), container["image"]


@every_overlay
def test_images_carry_the_version_of_the_code(overlay: str) -> None:
    tags = {box["image"].partition(":")[2] for name in SCALED for box in pods(overlay)[name]["containers"]}
    allowed = {"local"} if overlay == "overlays/local" else {__version__, f"{__version__}-cuda"}

    assert tags <= allowed
