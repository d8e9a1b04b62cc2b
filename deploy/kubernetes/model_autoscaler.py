"""Patch the autoscaler of workers that serve some models: it counts the images of these models alone.

Prometheus records the images of each model once (deploy/prometheus/rules/recording.yml). prometheus-adapter hands them
to a HorizontalPodAutoscaler, and KEDA's ScaledObject asks for them itself.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from service.measure.capacity.component import OFFERED, external_metric, quantity

FOLDER: Final = Path(__file__).parent
HPA, SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
FEWEST: Final = 2  # workers of the shipped autoscaler


@dataclass(frozen=True)
class Demand:
    """The models whose images count, and the numbers for each worker. None stands for the shipped number.

    `in_flight` are images in flight. `images_per_s` are images that callers offer; without it they do not count.
    """

    models: tuple[str, ...]
    in_flight: float | None = None
    images_per_s: float | None = None
    max_workers: int | None = None


def of_hpa(demand: Demand) -> list[dict[str, Any]]:
    """Return the changes of the HorizontalPodAutoscaler as a JSON patch."""
    external = "/spec/metrics/0/external"
    changes: list[dict[str, Any]] = [{"op": "add", "path": f"{external}/metric/selector", "value": _selector(demand)}]
    if demand.in_flight is not None:
        changes.append(_replaced(f"{external}/target/averageValue", quantity(demand.in_flight)))
    if demand.images_per_s is not None:
        value = external_metric(OFFERED, demand.images_per_s, selector=_selector(demand))
        changes.append({"op": "add", "path": "/spec/metrics/-", "value": value})
    return changes + _limits(demand, "maxReplicas", "minReplicas")


def of_keda(demand: Demand, deployment: str, *, on_gpu: bool) -> list[dict[str, Any]]:
    """Return the changes of KEDA's ScaledObject for a Deployment as a JSON patch.

    kustomize does not know that a ScaledObject names a Deployment, so the patch sets the final name.
    """
    shipped = _spec("components/keda/scaledobject.yaml")
    in_flight, offered = shipped["triggers"]
    triggers = [_trigger(in_flight, demand, demand.in_flight or _shipped_in_flight(on_gpu=on_gpu))]
    if demand.images_per_s is not None:
        triggers.append(_trigger(offered, demand, demand.images_per_s))
    changes = [_replaced("/spec/scaleTargetRef/name", deployment), _replaced("/spec/triggers", triggers)]
    changes += _limits(demand, "maxReplicaCount", "minReplicaCount")
    if demand.max_workers is not None and demand.max_workers < shipped["fallback"]["replicas"]:
        changes.append(_replaced("/spec/fallback/replicas", demand.max_workers))
    return changes


def _selector(demand: Demand) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "model", "operator": "In", "values": list(demand.models)}]}


def _replaced(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def _limits(demand: Demand, most: str, least: str) -> list[dict[str, Any]]:
    """Return the changes of the largest number of workers, and of the smallest where it would be above that."""
    if demand.max_workers is None:
        return []
    names = (most, least) if demand.max_workers < FEWEST else (most,)
    return [_replaced(f"/spec/{name}", demand.max_workers) for name in names]


def _trigger(shipped: dict[str, Any], demand: Demand, threshold: float) -> dict[str, Any]:
    """Return a trigger of the component with the images of these models alone."""
    query = re.sub(
        r"^sum\((\S+)\)$", lambda found: f"sum({found[1]}{{{_matcher(demand)}}})", shipped["metadata"]["query"]
    )
    return {**shipped, "metadata": {**shipped["metadata"], "query": query, "threshold": f"{threshold:g}"}}


def _matcher(demand: Demand) -> str:
    if len(demand.models) == 1:
        return f'model="{demand.models[0]}"'
    pattern = "|".join(map(re.escape, demand.models)).replace("\\", "\\\\")
    return f'model=~"{pattern}"'


def _shipped_in_flight(*, on_gpu: bool) -> float:
    """Return the images in flight for which the shipped HorizontalPodAutoscaler wants a worker."""
    file = "components/gpu-worker/autoscaling.yaml" if on_gpu else "base/worker/autoscaling.yaml"
    (metric,) = _spec(file)["metrics"]
    return float(metric["external"]["target"]["averageValue"])


def _spec(file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))["spec"])
