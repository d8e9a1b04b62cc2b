"""Workers of single models: what the program writes renders beside the base, and each autoscaler has its own pods."""

import os
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from deploy.kubernetes import model_worker
from tests.deploy import reading
from tests.deploy.programs import TOP, run
from tests.deploy.test_components import Manifests, one
from tests.deploy.test_kubernetes import RELEASES

COMPONENTS = reading.KUBERNETES / "components"
CLASSIFIER, SEGMENTER = "resnest50", "deeplab_resnest50_ade"


def invoke(*arguments: str | Path) -> str:
    """Run the program, and return its output."""
    done = CliRunner().invoke(model_worker.main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def overlay(folder: Path, *components: str, namespace: str = "resnest") -> Manifests:
    """Return the manifests of the base with the workers in a folder and with components, in a namespace."""
    top = folder.resolve()
    workers = sorted(each.parent.name for each in folder.glob("*/kustomization.yaml"))
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [os.path.relpath(reading.KUBERNETES / "base", top), *workers],
        "components": [os.path.relpath(COMPONENTS / each, top) for each in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return [*yaml.safe_load_all(run("kustomize", "build", folder))]


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    invoke(CLASSIFIER, "--device", "mig-1g.10gb", "--in-flight", "5.5", "--max-workers", "20", "--into", tmp_path)
    invoke(SEGMENTER, "--device", "gpu", "--into", tmp_path)
    return overlay(tmp_path, "no-shared-worker")


def of_kind(manifests: Manifests, kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def box(manifests: Manifests, name: str) -> dict[str, Any]:
    (found,) = one(manifests, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_each_model_has_workers_an_autoscaler_and_a_budget_of_its_own(manifests: Manifests) -> None:
    names = {"worker-resnest50", "worker-deeplab-resnest50-ade"}
    served = {name: {each["name"]: each["value"] for each in box(manifests, name)["env"]} for name in names}

    assert of_kind(manifests, "Deployment").keys() == names | {"gateway"}
    assert of_kind(manifests, "PodDisruptionBudget").keys() == names | {"gateway"}
    assert of_kind(manifests, "HorizontalPodAutoscaler").keys() == names | {"gateway"}
    assert {each["RESNEST_MODELS"] for each in served.values()} == {CLASSIFIER, SEGMENTER}
    for manifest in manifests:
        reading.validate(manifest, RELEASES[0])


@pytest.mark.parametrize("components", [(), ("no-shared-worker",)], ids=["beside workers of all models", "alone"])
def test_no_two_deployments_or_budgets_select_the_same_pods(tmp_path: Path, components: tuple[str, ...]) -> None:
    """Kubernetes stops an autoscaler whose pods another one has too, and refuses to evict a pod with two budgets."""
    invoke(CLASSIFIER, "--into", tmp_path)
    invoke(SEGMENTER, "--into", tmp_path)
    manifests = overlay(tmp_path, *components)
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(manifests, "Deployment").values()]

    for kind in ("Deployment", "PodDisruptionBudget"):
        selectors = [each["spec"]["selector"]["matchLabels"] for each in of_kind(manifests, kind).values()]
        assert len(selectors) == len(pods) == 4 - len(components)
        for labels in pods:
            assert sum(selector.items() <= labels.items() for selector in selectors) == 1


def test_gateways_find_the_workers_of_every_model_and_may_reach_them(manifests: Manifests) -> None:
    selector = one(manifests, "Service", "worker")["spec"]["selector"]
    allowed = one(manifests, "NetworkPolicy", "worker")["spec"]["podSelector"]["matchLabels"]
    for name, deployment in of_kind(manifests, "Deployment").items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert (selector.items() <= labels.items()) == (name != "gateway")
        assert (allowed.items() <= labels.items()) == (name != "gateway")


def test_an_autoscaler_counts_the_images_of_its_models_and_scales_its_own_workers(manifests: Manifests) -> None:
    spec = one(manifests, "HorizontalPodAutoscaler", "worker-resnest50")["spec"]
    (metric,) = spec["metrics"]
    (rule,) = [each for each in reading.adapter_rules() if each["name"]["as"] == metric["external"]["metric"]["name"]]

    assert spec["scaleTargetRef"]["name"] == "worker-resnest50"
    assert metric["external"]["metric"]["selector"]["matchExpressions"] == [
        {"key": "model", "operator": "In", "values": [CLASSIFIER]}
    ]
    assert metric["external"]["target"]["averageValue"] == "5500m"
    assert spec["maxReplicas"] == 20
    assert "<<.LabelMatchers>>" in rule["metricsQuery"]


def page_overlay(folder: Path) -> Manifests:
    """Return the manifests of the overlay on the page about scaling, whose models have workers of their own."""
    page = (TOP / "docs/operations/scale.md").read_text(encoding="utf-8")
    for arguments in re.findall(r"model_worker (.+) --into \S+$", page, re.MULTILINE):
        invoke(*arguments.split(), "--into", folder)
    text, _ = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return reading.overlay_of(text, folder)


def test_the_overlay_of_the_page_renders(tmp_path: Path) -> None:
    workers = {"worker-resnest50", "worker-deeplab-resnest50-ade"}

    assert {*workers, "gateway", "prometheus"} <= of_kind(page_overlay(tmp_path), "Deployment").keys()


@pytest.mark.parametrize(
    ("device", "resources"),
    [
        ("cpu", {}),
        ("gpu", {"nvidia.com/gpu": "1"}),
        ("gpu.shared", {"nvidia.com/gpu.shared": "1"}),
        ("mig-3g.40gb", {"nvidia.com/mig-3g.40gb": "1"}),
        ("mig-1g.10gb.me", {"nvidia.com/mig-1g.10gb.me": "1"}),
    ],
)
def test_a_worker_asks_for_the_device_that_is_named(device: str, resources: dict[str, str], tmp_path: Path) -> None:
    invoke(CLASSIFIER, "--device", device, "--into", tmp_path)

    limits = box(overlay(tmp_path), "worker-resnest50")["resources"]["limits"]

    assert {name: count for name, count in limits.items() if "nvidia" in name} == resources


def test_a_shared_volume_of_models_reaches_the_workers_of_every_model(tmp_path: Path) -> None:
    invoke(CLASSIFIER, "--device", "gpu", "--into", tmp_path)
    invoke(SEGMENTER, "--into", tmp_path)

    manifests = overlay(tmp_path, "no-shared-worker", "weights")

    for name in ("worker-resnest50", "worker-deeplab-resnest50-ade"):
        assert {"name": "RESNEST_MODEL_STORE", "value": "/srv/models"} in box(manifests, name)["env"]
        assert "models" in {mount["name"] for mount in box(manifests, name)["volumeMounts"]}


@pytest.mark.parametrize("device", ["cpu", "gpu", "mig-1g.10gb"])
def test_keda_scales_the_workers_of_a_model_as_the_other_autoscaler_does(device: str, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("hpa", "keda")}
    for name, folder in folders.items():
        folder.mkdir()
        invoke(CLASSIFIER, "--device", device, "--into", folder, *(["--keda"] if name == "keda" else []))
    manifests = {name: overlay(folder, "no-shared-worker") for name, folder in folders.items()}
    hpa = one(manifests["hpa"], "HorizontalPodAutoscaler", "worker-resnest50")["spec"]
    spec = one(manifests["keda"], "ScaledObject", "worker-resnest50")["spec"]
    (metric,), (trigger,) = hpa["metrics"], spec["triggers"]
    in_flight, _ = reading.adapter_rules()

    assert trigger["metadata"]["query"] == f'sum({in_flight["seriesQuery"]}{{model="{CLASSIFIER}"}})'
    assert trigger["metadata"]["threshold"] == metric["external"]["target"]["averageValue"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (hpa["minReplicas"], hpa["maxReplicas"])
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == hpa["behavior"]
    for kind in ("Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy"):
        assert of_kind(manifests["keda"], kind) == of_kind(manifests["hpa"], kind)
    labels = of_kind(manifests["keda"], "ScaledObject")["worker-resnest50"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == "resnest50"


@pytest.mark.parametrize("keda", [False, True], ids=["hpa", "keda"])
@pytest.mark.parametrize("components", [(), ("no-shared-worker",)], ids=["beside workers of all models", "alone"])
def test_every_deployment_of_workers_has_exactly_one_autoscaler(
    tmp_path: Path, components: tuple[str, ...], *, keda: bool
) -> None:
    """Two of them would set the number of pods in turn."""
    for model in (CLASSIFIER, SEGMENTER):
        invoke(model, "--device", "gpu", "--into", tmp_path, *(["--keda"] if keda else []))
    manifests = overlay(tmp_path, *(["keda"] if keda and not components else []), *components)

    assert Counter(reading.autoscaled(manifests)) == dict.fromkeys(of_kind(manifests, "Deployment"), 1)


def test_both_autoscalers_of_one_deployment_are_noticed(tmp_path: Path) -> None:
    invoke(CLASSIFIER, "--into", tmp_path)
    invoke(CLASSIFIER, "--keda", "--into", tmp_path / "again")
    once, again = overlay(tmp_path), overlay(tmp_path / "again")

    assert reading.autoscaled([*once, one(again, "ScaledObject", "worker-resnest50")]).count("worker-resnest50") == 2


def test_keda_counts_the_offered_images_of_these_models_where_their_number_is_named(tmp_path: Path) -> None:
    numbers = ("--in-flight", "5.5", "--images-per-second", "140", "--max-workers", "3")
    invoke(CLASSIFIER, SEGMENTER, "--keda", "--name", "both", *numbers, "--into", tmp_path)
    spec = one(overlay(tmp_path), "ScaledObject", "worker-both")["spec"]
    queries = [rule["seriesQuery"] for rule in reading.adapter_rules()]

    assert [each["metadata"]["query"] for each in spec["triggers"]] == [
        f'sum({query}{{model=~"{CLASSIFIER}|{SEGMENTER}"}})' for query in queries
    ]
    assert [each["metadata"]["threshold"] for each in spec["triggers"]] == ["5.5", "140"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["fallback"]["replicas"]) == (2, 3, 3)


def test_an_autoscaler_counts_the_offered_images_too_where_their_number_is_named(tmp_path: Path) -> None:
    invoke(CLASSIFIER, "--images-per-second", "35.5", "--into", tmp_path)
    spec = one(overlay(tmp_path), "HorizontalPodAutoscaler", "worker-resnest50")
    names = [each["external"]["metric"]["name"] for each in spec["spec"]["metrics"]]
    (_, offered) = (each["external"] for each in spec["spec"]["metrics"])

    assert names == [rule["name"]["as"] for rule in reading.adapter_rules()]
    assert offered["metric"]["selector"]["matchExpressions"][0]["values"] == [CLASSIFIER]
    assert offered["target"] == {"type": "AverageValue", "averageValue": "35500m"}
    reading.validate(spec, RELEASES[0])


def test_the_command_in_a_written_file_writes_it_again(tmp_path: Path) -> None:
    numbers = ("--in-flight", "5.5", "--images-per-second", "140", "--max-workers", "3")
    invoke(CLASSIFIER, SEGMENTER, "--keda", "--device", "gpu", "--name", "small ones", *numbers, "--into", tmp_path)
    file = tmp_path / "small-ones" / "kustomization.yaml"
    written = file.read_text(encoding="utf-8")
    (command,) = re.findall(
        r"^# Written by `python -m deploy\.kubernetes\.model_worker (.*)`\.$", written, re.MULTILINE
    )
    file.unlink()

    invoke(*shlex.split(command), "--into", tmp_path)

    assert file.read_text(encoding="utf-8") == written


def test_some_models_can_share_workers(tmp_path: Path) -> None:
    invoke(CLASSIFIER, SEGMENTER, "--name", "small ones", "--max-workers", "1", "--into", tmp_path)
    manifests = overlay(tmp_path)
    spec = one(manifests, "HorizontalPodAutoscaler", "worker-small-ones")["spec"]
    (expression,) = spec["metrics"][0]["external"]["metric"]["selector"]["matchExpressions"]

    assert expression["values"] == [CLASSIFIER, SEGMENTER]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("resnest51",), "resnest51 is no model"),
        ((CLASSIFIER, "--device", "tpu"), "'tpu' is no device"),
        ((CLASSIFIER, "--device", "mig-large"), "'mig-large' is no device"),
        ((CLASSIFIER, "--name", "___"), "'___' is no name"),
    ],
)
def test_what_cannot_be_written_is_named(arguments: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(model_worker.main, [*arguments, "--into", str(tmp_path)])

    assert (done.exit_code, reason in done.output) == (1, True), done.output
    assert not [*tmp_path.rglob("*.yaml")]


def test_the_names_of_all_published_models_fit() -> None:
    for path in (TOP / "model_store").glob("*/card.toml"):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", model_worker.name_of(path.parent.name))
