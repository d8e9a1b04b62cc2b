"""Write the kustomization of workers that serve one model, or some models.

    python -m deploy.kubernetes.model_worker resnest50 --device mig-1g.10gb --into deploy/kubernetes/overlays/own

An overlay names the written folder as a resource, beside the base. The gateways find the pods by the Service `worker`,
which selects the workers of all models. So a new model restarts nothing.
"""

import os
import re
import shlex
from pathlib import Path
from typing import Any

import click
import yaml

from deploy.kubernetes import model_autoscaler
from deploy.kubernetes.model_autoscaler import HPA, SCALED_OBJECT, Demand
from service.models import cards
from service.models.cards import CardError

FOLDER = Path(__file__).parent
INSTANCE = "app.kubernetes.io/instance"
# The component that gives a worker its device, and the resource that it asks for there.
MIG = "mig-"
OPTIONS = {"in_flight": "--in-flight", "images_per_s": "--images-per-second", "max_workers": "--max-workers"}
LONGEST_NAME = 40  # with `worker-` and the hash of a pod, at most 63 characters


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--name", help="Name of the workers. Default: that of the first model.")
@click.option(
    "--device", default="cpu", show_default=True, help="cpu, gpu, gpu.shared (time slicing), or a slice: mig-1g.10gb."
)
@click.option("--keda", is_flag=True, help="Scale by a ScaledObject of KEDA instead of a HorizontalPodAutoscaler.")
@click.option("--in-flight", type=click.FloatRange(1), help="Images in flight for which a worker is wanted.")
@click.option(
    "--images-per-second",
    "images_per_s",
    type=click.FloatRange(0, min_open=True),
    help="Images a second, offered by callers, for which a worker is wanted too. Default: they do not count.",
)
@click.option("--max-workers", type=click.IntRange(1, 10_000), help="Workers, at most.")
@click.option("--store", type=click.Path(path_type=Path), default=FOLDER.parents[1] / "model_store")
@click.option("--into", type=click.Path(path_type=Path), required=True, help="Folder for the folder of the workers.")
def main(
    models: tuple[str, ...], name: str | None, device: str, store: Path, into: Path, *, keda: bool, **numbers: Any
) -> None:
    """Write a kustomization of workers that serve MODELS into the folder of their name in INTO.

    `resnest-service capacity --model NAME` measures the images in flight, and the images a second. Without the first
    the target is that of all models.
    """
    for each in models:
        require_card(store, each)
    workers = name_of(name or models[0])
    folder = into / workers
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(kustomization(workers, folder, device, Demand(models, **numbers), keda=keda), sort_keys=False)
    given = {"--device": device, "--name": name, **{OPTIONS[each]: value for each, value in numbers.items()}}
    command = [*models, *(str(word) for pair in given.items() if pair[1] is not None for word in pair)]
    again = shlex.join(["python", "-m", "deploy.kubernetes.model_worker", *command, *(["--keda"] if keda else [])])
    (folder / "kustomization.yaml").write_text(f"# Written by `{again}`.\n{text}", encoding="utf-8")
    click.echo(folder)


def require_card(store: Path, model: str) -> None:
    """Raise `click.ClickException` if the store has no such model."""
    try:
        cards.read(store / model)
    except CardError as error:
        raise click.ClickException(f"{model} is no model of {store}: {error}") from error


def name_of(text: str) -> str:
    """Return a text as a name of Kubernetes: lower case, digits and hyphens. Raises `click.ClickException`."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not 0 < len(name) <= LONGEST_NAME:
        raise click.ClickException(f"{text!r} is no name of 1 to {LONGEST_NAME} letters and digits; set --name")
    return name


def kustomization(name: str, folder: Path, device: str, demand: Demand, *, keda: bool = False) -> dict[str, Any]:
    """Return the kustomization of the workers in `folder`. Raises `click.ClickException` for an unknown device."""
    at = Path(os.path.relpath(FOLDER.resolve(), folder.resolve()))
    components = [*_components(device), *(["keda"] if keda else [])]  # the last one deletes the HPA that others change
    patches = [_patch("Deployment", _served(demand.models))]
    if keda:
        scaled = model_autoscaler.of_keda(demand, f"worker-{name}", on_gpu="gpu-worker" in components)
        patches.append(_patch(SCALED_OBJECT, scaled))
    else:
        patches.append(_patch(HPA, model_autoscaler.of_hpa(demand)))
    if device.startswith(MIG):
        patches.append(_patch("Deployment", _slice(device)))
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(at / "base/worker")],
        "components": [str(at / "components" / each) for each in components],
        "nameSuffix": f"-{name}",
        "labels": [{"pairs": {INSTANCE: name}, "includeSelectors": True}],
        "patches": patches,
    }


def _components(device: str) -> tuple[str, ...]:
    """Return the components of a device. Raises `click.ClickException` if it is unknown."""
    known = {"cpu": (), "gpu": ("gpu-worker",), "gpu.shared": ("gpu-worker", "gpu-time-slicing")}
    if re.fullmatch(rf"{MIG}\d+g\.\d+gb(\.\w+)?", device):
        return ("gpu-worker",)
    if device not in known:
        raise click.ClickException(f"{device!r} is no device: cpu, gpu, gpu.shared, or a slice such as mig-1g.10gb")
    return known[device]


def _served(models: tuple[str, ...]) -> dict[str, Any]:
    return _container({"env": [{"name": "RESNEST_MODELS", "value": ",".join(models)}]})


def _container(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the change of these fields of the worker's container."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "worker"},
        "spec": {"template": {"spec": {"containers": [{"name": "worker", **fields}]}}},
    }


def _slice(device: str) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": None, f"nvidia.com/{device}": "1"}
    return _container({"resources": {"limits": limits}})


def _patch(kind: str, content: Any) -> dict[str, Any]:
    return {"target": {"kind": kind, "name": "worker"}, "patch": yaml.safe_dump(content, sort_keys=False)}


if __name__ == "__main__":
    main()
