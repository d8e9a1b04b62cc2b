"""The components for GPUs: the device that a worker asks for, the nodes that have it, and what DCGM knows of it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import reading
from tests.deploy.programs import run
from tests.deploy.test_components import Manifests, one, together, with_component

DCGM = reading.KUBERNETES / "components/gpu-dcgm"


def worker(manifests: Manifests) -> dict[str, Any]:
    return dict(one(manifests, "Deployment", "worker")["spec"]["template"]["spec"])


@pytest.mark.parametrize(
    ("component", "device"),
    [
        ("gpu", "nvidia.com/gpu"),
        ("gpu-worker", "nvidia.com/gpu"),
        ("gpu-mig", "nvidia.com/mig-1g.10gb"),
        ("gpu-time-slicing", "nvidia.com/gpu.shared"),
    ],
)
def test_a_worker_asks_for_one_device(component: str, device: str) -> None:
    (box,) = worker(with_component(component))["containers"]
    devices = {name: count for name, count in box["resources"]["limits"].items() if name.startswith("nvidia.com/")}

    assert devices == {device: "1"}
    assert box["image"].endswith("-cuda")


@pytest.mark.parametrize("component", ["gpu", "gpu-mig", "gpu-time-slicing"])
def test_a_single_node_without_autoscalers_may_have_a_gpu_too(component: str) -> None:
    names = together([component])
    manifests = reading.build((reading.KUBERNETES / "components" / name for name in names), "overlays/local")
    (box,) = worker(manifests)["containers"]

    assert any(name.startswith("nvidia.com/") for name in box["resources"]["limits"])
    assert reading.autoscaled(manifests) == []


def test_workers_and_the_spare_run_only_on_nodes_with_the_product_that_was_measured() -> None:
    manifests = with_component("warm-spare", "gpu-product")
    for name in ("worker", "spare"):
        pod = one(manifests, "Deployment", name)["spec"]["template"]["spec"]
        terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        (expression,) = terms[0]["matchExpressions"]
        assert (expression["key"], expression["operator"]) == ("nvidia.com/gpu.product", "In")
        assert expression["values"]


def test_a_runtime_that_needs_nvidias_handler_gets_it_for_workers_alone() -> None:
    manifests = with_component("gpu-runtime-class")

    assert worker(manifests)["runtimeClassName"] == "nvidia"
    assert "runtimeClassName" not in one(manifests, "Deployment", "gateway")["spec"]["template"]["spec"]


def test_prometheus_reads_dcgm_from_where_the_service_gives_every_pod_an_address() -> None:
    manifests = with_component("gpu-dcgm")
    pod = one(manifests, "Deployment", "prometheus")["spec"]["template"]["spec"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "scrape"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "scrape"]
    (job,) = yaml.safe_load(one(manifests, "ConfigMap", volume["configMap"]["name"])["data"]["dcgm.yml"])[
        "scrape_configs"
    ]
    (found,) = job["dns_sd_configs"]
    service = yaml.safe_load((DCGM / "exporter-pods.yaml").read_text(encoding="utf-8"))
    (rule,) = [
        each
        for each in one(manifests, "NetworkPolicy", "prometheus")["spec"]["egress"]
        if {"port": found["port"], "protocol": "TCP"} in each["ports"]
    ]
    (namespace,) = rule["to"][0]["namespaceSelector"]["matchLabels"].values()

    assert reading.load("deploy/prometheus/prometheus.yml")["scrape_config_files"] == ["scrape/*.yml"]
    assert mount["mountPath"] == "/etc/prometheus/scrape"
    assert found["names"] == [f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"]
    assert namespace == service["metadata"]["namespace"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["ports"][0]["port"] == found["port"]


def test_promtool_accepts_what_the_component_adds(tmp_path: Path) -> None:
    (tmp_path / "scrape").mkdir()
    shutil.copy(reading.PROMETHEUS / "prometheus.yml", tmp_path)
    shutil.copytree(reading.PROMETHEUS / "rules", tmp_path / "rules")
    shutil.copy(DCGM / "dcgm.yml", tmp_path / "scrape")
    run("promtool", "check", "config", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yml")

    (tmp_path / "scrape/dcgm.yml").write_text("scrape_configs: [{}]", encoding="utf-8")
    with pytest.raises(AssertionError, match="job_name"):
        run("promtool", "check", "config", tmp_path / "prometheus.yml")
