"""Gateway and worker in one pod: the container is the base's, both share memory, and what chose gateways finds it."""

from typing import Any

import pytest
import yaml

from service.config.settings import Settings
from service.gateway.uploads.decode_queue import SMALL_PIXELS
from service.tasks import shared_image
from service.worker import drain
from tests.deploy import reading
from tests.deploy.programs import TOP
from tests.deploy.reading import bytes_of
from tests.deploy.test_components import ALTERNATIVES, COMPONENTS, FIRST, Manifests, one, with_component
from tests.deploy.test_model_workers import CLASSIFIER, invoke, overlay
from tests.deploy.test_weights import named

MEBIBYTE = 1 << 20
OTHERS = sorted({*COMPONENTS} - {FIRST, "no-shared-worker", "canary"})

Box = dict[str, Any]


def pod(manifests: Manifests) -> dict[str, Any]:
    return dict(one(manifests, "Deployment", "worker")["spec"]["template"]["spec"])


def labels(manifests: Manifests) -> dict[str, str]:
    return dict(one(manifests, "Deployment", "worker")["spec"]["template"]["metadata"]["labels"])


def boxes(manifests: Manifests) -> tuple[Box, Box]:
    """Return the containers of the worker and of the gateway."""
    found = pod(manifests)["containers"]
    assert len(found) == 2
    return named(found, "worker"), named(found, "gateway")


def settings(manifests: Manifests, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (found,) = [
        each["data"] for each in manifests if each["metadata"]["name"].startswith("gateway-") and "data" in each
    ]
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return Settings()


def names(manifests: Manifests, kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in manifests if each["kind"] == kind}


def test_one_deployment_is_left_with_its_autoscaler_and_its_budget() -> None:
    manifests = with_component(FIRST)

    assert names(manifests, "Deployment") == {"worker"}
    assert names(manifests, "HorizontalPodAutoscaler") == {"worker"}
    assert names(manifests, "PodDisruptionBudget") == {"worker"}


def test_the_autoscaler_of_the_pods_is_that_of_the_workers() -> None:
    assert one(with_component(FIRST), "HorizontalPodAutoscaler", "worker") == {
        **reading.of_kind("base", "HorizontalPodAutoscaler")["worker"]
    }


def test_both_containers_are_those_of_the_base_but_for_what_they_share_and_how_they_stop() -> None:
    worker, gateway = boxes(with_component(FIRST))
    (base_worker,) = reading.pods("base")["worker"]["containers"]
    (base_gateway,) = reading.pods("base")["gateway"]["containers"]
    own = ("volumeMounts", "envFrom")  # the name of the ConfigMap has the hash of its content

    assert worker == {**base_worker, "lifecycle": worker["lifecycle"]}
    assert {key: value for key, value in gateway.items() if key not in own} == {
        key: value for key, value in base_gateway.items() if key not in own
    }


def test_a_container_keeps_what_an_overlay_set_before(tmp_path: Any) -> None:
    document = {"resources": ["../local"], "components": [f"../../components/{FIRST}"]}
    manifests = reading.overlay_of(yaml.safe_dump(document), tmp_path)
    _, gateway = boxes(manifests)
    (base,) = reading.pods("overlays/local")["gateway"]["containers"]

    assert (gateway["image"], gateway["resources"]) == (base["image"], base["resources"])
    assert one(manifests, "Deployment", "worker")["spec"]["replicas"] == 1


def test_both_mount_one_volume_in_memory_where_the_gateway_puts_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = with_component(FIRST)
    set_to = settings(manifests, monkeypatch)
    volume = named(pod(manifests)["volumes"], "shm")["emptyDir"]

    for box in boxes(manifests):
        assert named(box["volumeMounts"], "shm") == {"name": "shm", "mountPath": str(shared_image.FOLDER)}
        assert shared_image.VARIABLE not in {each["name"] for each in box.get("env", [])}
    assert set_to.shared_memory_dir == shared_image.FOLDER
    assert volume["medium"] == "Memory"
    assert 0 < set_to.shared_memory_bytes < bytes_of(volume["sizeLimit"])


def test_both_run_as_one_user_because_only_the_gateways_user_can_read_its_memory() -> None:
    manifests = with_component(FIRST)

    assert pod(manifests)["securityContext"]["runAsUser"] > 0
    assert not any("runAsUser" in box["securityContext"] for box in boxes(manifests))


def test_the_gateways_memory_also_holds_the_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = with_component(FIRST)
    set_to = settings(manifests, monkeypatch)
    _, gateway = boxes(manifests)
    decoded = set_to.decode_processes * (set_to.max_pixels + SMALL_PIXELS) * 20
    encoded = set_to.encode_threads * set_to.max_pixels * 5
    held = 300 * MEBIBYTE + set_to.max_buffered_bytes + set_to.shared_memory_bytes

    assert held + decoded + encoded <= bytes_of(gateway["resources"]["limits"]["memory"])


def test_each_has_a_temporary_folder_of_its_own_and_every_volume_is_mounted() -> None:
    """By files in that folder, `service.host.health` finds out whether it is beside a worker."""
    manifests = with_component(FIRST)
    folder = "/tmp"  # noqa: S108 - in the containers
    mounts = [{each["mountPath"]: each["name"] for each in box["volumeMounts"]} for box in boxes(manifests)]
    mounted = {each["name"] for box in boxes(manifests) for each in box["volumeMounts"]}

    assert [each[folder] for each in mounts] == ["tmp", "gateway-tmp"]
    assert mounted == {volume["name"] for volume in pod(manifests)["volumes"]}


def test_the_gateway_asks_the_worker_beside_it_at_its_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = with_component(FIRST)
    set_to = settings(manifests, monkeypatch)
    worker, _ = boxes(manifests)
    ports = {each["name"]: each["containerPort"] for each in worker["ports"]}

    assert set_to.inference_url == f"http://127.0.0.1:{ports['inference']}"
    assert set_to.management_url == f"http://127.0.0.1:{ports['management']}"


def test_no_two_containers_of_the_pod_have_the_same_port_or_name_of_one() -> None:
    ports = [port for box in boxes(with_component(FIRST)) for port in box["ports"]]

    for key in ("name", "containerPort"):
        assert len({port[key] for port in ports}) == len(ports) == 5


@pytest.mark.parametrize("name", ["gateway", "gateway-pods", "worker"])
def test_every_service_selects_the_pods_and_a_port_that_they_have(name: str) -> None:
    manifests = with_component(FIRST)
    spec = one(manifests, "Service", name)["spec"]
    ports = {port["name"] for box in boxes(manifests) for port in box["ports"]}

    assert spec["selector"].items() <= labels(manifests).items()
    assert {port["targetPort"] for port in spec["ports"]} <= ports


def test_workers_of_single_models_have_no_gateway_and_get_no_callers(tmp_path: Any) -> None:
    invoke(CLASSIFIER, "--into", tmp_path)
    manifests = overlay(tmp_path, FIRST)
    alone = one(manifests, "Deployment", "worker-resnest50")["spec"]["template"]

    assert len(alone["spec"]["containers"]) == 1
    for name in ("gateway", "gateway-pods"):
        selector = one(manifests, "Service", name)["spec"]["selector"]
        assert not selector.items() <= alone["metadata"]["labels"].items()


def allowed_into(manifests: Manifests) -> dict[str, list[dict[str, Any]]]:
    """Return who may reach each port of the pods, by all policies together: no one listed is everyone."""
    found: dict[str, list[dict[str, Any]]] = {}
    for policy in (each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"):
        if policy["podSelector"].get("matchLabels", {}).items() <= labels(manifests).items():
            for rule in policy.get("ingress", []):
                for port in rule["ports"]:
                    found.setdefault(port["port"], []).extend(rule.get("from", []))
    return found


def test_callers_reach_the_gateway_prometheus_the_metrics_and_no_pod_another_ones_torchserve() -> None:
    manifests = with_component(FIRST, "monitoring")
    into = allowed_into(manifests)
    prometheus = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}]
    own = labels(manifests)

    assert into["http"] == []
    assert into["admin"] == into["metrics"] == prometheus
    for port in ("inference", "management"):
        assert into[port]
        assert not any(each["podSelector"]["matchLabels"].items() <= own.items() for each in into[port])


@pytest.mark.parametrize("kind", ["NetworkPolicy", "PodMonitor"])
def test_whatever_prometheus_reads_of_gateways_it_may_reach_in_worker_pods(kind: str) -> None:
    if kind == "PodMonitor":
        monitor = one(with_component(FIRST, "prometheus-operator"), "PodMonitor", "gateway")["spec"]
        assert "worker" in reading.selected_names(monitor["selector"])
        return
    rules = one(with_component(FIRST, "monitoring"), "NetworkPolicy", "prometheus")["spec"]["egress"]
    reached = {
        port["port"]
        for rule in rules
        for target in rule["to"]
        for port in rule["ports"]
        if "worker" in reading.selected_names(target.get("podSelector", {}))
    }
    assert reached == {"admin", "metrics"}


def test_the_worker_outlives_the_gateway_and_both_end_within_the_time_of_the_pod(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifests = with_component(FIRST)
    set_to = settings(manifests, monkeypatch)
    worker, gateway = boxes(manifests)
    *program, seconds, option, most = worker["lifecycle"]["preStop"]["exec"]["command"]

    assert program == ["python", "-m", drain.__name__]
    assert option == "--at-most"
    assert int(seconds) >= set_to.drain_s, "also without an arena for which the hook could wait"
    assert int(most) > set_to.shutdown_timeout_s
    assert pod(manifests)["terminationGracePeriodSeconds"] >= int(most) + 10, "for TorchServe to end"
    assert "lifecycle" not in gateway, "it must begin to drain at once"


@pytest.mark.parametrize("other", OTHERS)
def test_it_renders_beside_every_other_component_and_keeps_both_containers(other: str) -> None:
    manifests = with_component(FIRST, other)
    boxes(manifests)
    spec = pod(manifests)
    mounted = {
        each["name"] for box in (*spec["containers"], *spec.get("initContainers", [])) for each in box["volumeMounts"]
    }

    assert "gateway" not in names(manifests, "Deployment")
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_the_traffic_file_reaches_the_gateway_and_not_the_worker() -> None:
    worker, gateway = boxes(with_component(FIRST, "traffic"))

    assert "RESNEST_TRAFFIC_FILE" in {each["name"] for each in gateway["env"]}
    assert named(gateway["volumeMounts"], "traffic")
    assert "traffic" not in {each["name"] for each in worker["volumeMounts"]}


def test_keda_scales_the_pods() -> None:
    manifests = with_component(FIRST, "keda")

    assert names(manifests, "HorizontalPodAutoscaler") == set()
    assert one(manifests, "ScaledObject", "worker")["spec"]["scaleTargetRef"] == {"name": "worker"}


@pytest.mark.parametrize("before", ["traffic", *sorted(ALTERNATIVES[1])])
def test_after_a_component_that_changes_the_gateway_it_does_not_render(before: str) -> None:
    """Otherwise that change would be lost, or the pod would mount a volume that it does not have."""
    components = [reading.KUBERNETES / "components" / each for each in (before, FIRST)]

    with pytest.raises(AssertionError, match="/spec/template/spec/volumes"):
        reading.build(components)


def test_the_overlay_of_the_page_renders(tmp_path: Any) -> None:
    page = (TOP / "docs/operations/scale.md").read_text(encoding="utf-8")
    section = page.partition("## Gateway and worker in one pod\n")[2].partition("\n## ")[0]
    text = section.partition("```yaml\n")[2].partition("```")[0]

    worker, gateway = boxes(reading.overlay_of(text, tmp_path))

    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"RESNEST_TRAFFIC_FILE", "RESNEST_MODEL_STORE"} <= {each["name"] for each in gateway["env"]}
