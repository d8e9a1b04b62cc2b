"""Write the numbers of a deployment as a component for kustomize."""

from pathlib import Path
from typing import Any, Literal

import orjson

from service.measure.capacity.sizing import Sizing

Autoscaler = Literal["hpa", "keda"]

IN_FLIGHT = "resnest_inference_in_flight"
OFFERED = "resnest_images_offered_per_second"
HPA = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}


def write(folder: Path, sizing: Sizing, fleet_workers: int, autoscaler: Autoscaler, heading: str) -> None:
    """Write the component into `folder`. `heading` says in one line what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    patches = [_workers(sizing, fleet_workers, autoscaler)]
    if sizing.max_gateways is not None:
        most = {**HPA, **_named("gateway"), "spec": {"maxReplicas": sizing.max_gateways}}
        # With a target, an overlay without this autoscaler renders too: components/sidecar-gateway.
        patches.append({"target": {"kind": "HorizontalPodAutoscaler", "name": "gateway"}, "patch": _text(most)})
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "patches": patches,
        "configMapGenerator": [
            {
                "name": "gateway",
                "behavior": "merge",
                "literals": [f"RESNEST_MAX_IN_FLIGHT={sizing.max_in_flight}"],
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(f"# {heading}\n{_text(document)}\n", encoding="utf-8")


def _workers(sizing: Sizing, workers: int, autoscaler: Autoscaler) -> dict[str, Any]:
    """Return the patch of the workers' autoscaler: both targets, and the most workers."""
    targets = {IN_FLIGHT: sizing.in_flight_target, OFFERED: sizing.images_per_s_target}
    if autoscaler == "hpa":
        metrics = [external_metric(name, target) for name, target in targets.items()]
        return {"patch": _text({**HPA, **_named("worker"), "spec": {"maxReplicas": workers, "metrics": metrics}})}
    changes: list[dict[str, Any]] = [{"op": "replace", "path": "/spec/maxReplicaCount", "value": workers}]
    changes += [
        {"op": "replace", "path": f"/spec/triggers/{index}/metadata/threshold", "value": f"{target:.1f}"}
        for index, target in enumerate(targets.values())
    ]
    return {"target": {"kind": "ScaledObject", "name": "worker"}, "patch": _text(changes)}


def external_metric(name: str, target: float, **metric: Any) -> dict[str, Any]:
    """Return a metric of a HorizontalPodAutoscaler with its target for each pod, and with more of what it selects."""
    average = {"type": "AverageValue", "averageValue": quantity(target)}
    return {"type": "External", "external": {"metric": {"name": name, **metric}, "target": average}}


def quantity(value: float) -> str:
    """Return a number as Kubernetes writes it, in thousandths."""
    return f"{round(1000 * value)}m"


def _named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def _text(value: Any) -> str:
    """Return a value as JSON, which YAML includes."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
