"""Three ways of bringing models to pods: what gateways and workers mount, and what the page says of it."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from service import __version__
from service.cli.main import main
from tests.deploy import reading
from tests.deploy.programs import TOP, run
from tests.deploy.test_components import SINCE, Manifests, one, with_component
from tests.deploy.test_kubernetes import RELEASES, SCALED

PAGE = (TOP / "docs/operations/weights.md").read_text(encoding="utf-8")
COMPONENTS = reading.KUBERNETES / "components"
VOLUMES: dict[str, dict[str, Any]] = {
    "weights": {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
    "weights-fetch": {"emptyDir": {"sizeLimit": "20Gi"}},
    "weights-oci": {
        "image": {"pullPolicy": "IfNotPresent", "reference": f"registry.example/vision/models@sha256:{1:064}"}
    },
}
MODEL = "resnest50"  # of the page; here a tiny one

every_way = pytest.mark.parametrize("way", VOLUMES)


def pod_of(manifests: Manifests, deployment: str) -> dict[str, Any]:
    return dict(one(manifests, "Deployment", deployment)["spec"]["template"]["spec"])


def named(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (chosen,) = [each for each in found if each["name"] == name]
    return chosen


@every_way
@pytest.mark.parametrize("pods", ["of their own", "one pod"])
@pytest.mark.parametrize("container", SCALED)
def test_gateways_and_workers_read_the_same_models_and_cannot_change_them(way: str, pods: str, container: str) -> None:
    apart = pods == "of their own"
    manifests = with_component(way) if apart else with_component("sidecar-gateway", way)
    pod = pod_of(manifests, container if apart else "worker")
    box = named(pod["containers"], container)
    mount = named(box["volumeMounts"], "models")

    assert named(pod["volumes"], "models") == {"name": "models"} | VOLUMES[way]
    assert mount["readOnly"] is True
    assert {"name": "RESNEST_MODEL_STORE", "value": mount["mountPath"]} in box["env"]
    boxes = [*pod["containers"], *pod.get("initContainers", [])]
    mounted = {each["name"] for box in boxes for each in box["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_job_that_fills_the_volume_runs_a_command_of_ours_and_is_the_only_one_that_writes(tmp_path: Path) -> None:
    manifests = with_component("weights")
    (pull,) = one(manifests, "Job", "models")["spec"]["template"]["spec"]["containers"]
    policy = one(manifests, "NetworkPolicy", "models")["spec"]

    (mount,) = [each["mountPath"] for each in pull["volumeMounts"] if each["name"] == "models"]
    words = [str(tmp_path) if word == mount else word for word in pull["args"]]
    command = main.commands[words.pop(0)].commands[words.pop(0)]  # type: ignore[attr-defined]
    with command.make_context("pull", words) as context:
        assert context.params["store"] == tmp_path
        assert context.params["names"]
    assert not any(mount.get("readOnly") for mount in pull["volumeMounts"])
    assert {"port": 443, "protocol": "TCP"} in policy["egress"][0]["ports"]


@pytest.mark.parametrize("deployment", SCALED)
def test_an_init_container_is_as_confined_as_its_pod_and_alone_writes_the_models(deployment: str) -> None:
    pod = pod_of(with_component("weights-fetch"), deployment)
    (fetch,), (box,) = pod["initContainers"], pod["containers"]

    assert fetch["image"] == f"resnest-gateway:{__version__}", "the small one, also where the worker's is for CUDA"
    assert fetch["securityContext"] == box["securityContext"]
    assert "readOnly" not in named(fetch["volumeMounts"], "models")
    assert named(fetch["volumeMounts"], "models")["mountPath"] == named(box["volumeMounts"], "models")["mountPath"]


def test_in_one_pod_the_models_are_fetched_once() -> None:
    assert len(pod_of(with_component("sidecar-gateway", "weights-fetch"), "worker")["initContainers"]) == 1


def test_a_new_list_of_archives_rolls_out_new_pods() -> None:
    manifests = with_component("weights-fetch")
    names = [each["metadata"]["name"] for each in manifests if each["kind"] == "ConfigMap"]
    (listed,) = [name for name in names if re.fullmatch(r"model-archives-\w{10}", name)]

    for deployment in SCALED:
        pod = pod_of(manifests, deployment)
        variable = named(pod["initContainers"][0]["env"], "MODELS_URL")
        assert named(pod["volumes"], "model-archives")["configMap"]["name"] == listed
        assert variable["valueFrom"]["configMapKeyRef"] == {"name": listed, "key": "url"}


def test_only_the_init_container_needs_a_way_out_and_the_policy_says_to_which_ports() -> None:
    policy = one(with_component("weights-fetch"), "NetworkPolicy", "model-archives")["spec"]

    assert reading.selected_names(policy["podSelector"]) == ["gateway", "gateway-canary", "worker"]
    assert policy["policyTypes"] == ["Egress"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [443, 53, 53, 5353, 5353]
    for way in ("weights", "weights-oci"):
        others = [each["metadata"]["name"] for each in with_component(way) if each["kind"] == "NetworkPolicy"]
        assert "model-archives" not in others


def test_a_release_before_image_volumes_refuses_them_and_the_page_names_the_first_that_does_not() -> None:
    from kubernetes_validate import ValidationError  # noqa: PLC0415 - as in `reading.validate`

    for deployment in SCALED:
        manifest = one(with_component("weights-oci"), "Deployment", deployment)
        with pytest.raises(ValidationError, match="image"):
            reading.validate(manifest, RELEASES[0])
    text = (COMPONENTS / "weights-oci/kustomization.yaml").read_text(encoding="utf-8")
    for each in (text, PAGE):
        assert re.findall(r"Kubernetes (1\.\d+)[^.]* 1\.\d+ with the feature gate", each) == ["1.35"]
        assert re.findall(r"(1\.\d+) with the feature gate", each) == [SINCE["weights-oci"]]


def overlays_of_the_page() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_overlay_of_the_page_replaces_the_list_and_the_address(tmp_path: Path) -> None:
    component, text, _ = overlays_of_the_page()
    listed, folder = f"{'a' * 64}  {MODEL}.tar\n", tmp_path / "models"
    folder.mkdir()
    (folder / "SHA256SUMS").write_text(listed, encoding="utf-8")
    (folder / "kustomization.yaml").write_text(component, encoding="utf-8")

    manifests = reading.overlay_of(text, tmp_path)

    (found,) = [each["data"] for each in manifests if each["metadata"]["name"].startswith("model-archives-")]
    assert found == {"url": "https://models.example.org/resnest", "SHA256SUMS": listed}


def test_the_overlay_of_the_page_names_the_image_by_its_digest(tmp_path: Path) -> None:
    *_, text = overlays_of_the_page()

    manifests = reading.overlay_of(text, tmp_path)

    for deployment in SCALED:
        volume = named(pod_of(manifests, deployment)["volumes"], "models")
        assert volume["image"]["reference"] == f"registry.example/vision/models@sha256:{2:064}"


def test_the_image_of_the_page_has_the_store_as_its_root(tmp_path: Path) -> None:
    (lines,) = re.findall(r"```dockerfile\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "models.Dockerfile"
    file.write_text(lines, encoding="utf-8")
    run("hadolint", file)
    first, *copies = lines.splitlines()

    assert first == "FROM scratch"
    for line in copies:
        word, source, target = shlex.split(line)
        assert (word, target) == ("COPY", f"/{source}")
    (build,) = [block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if block.startswith("docker build")]
    words = shlex.split(build)
    assert words[words.index("--file") + 1] == file.name
    assert words[-1] == "model_store"
