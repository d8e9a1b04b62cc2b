"""Lower manifests of today to Kubernetes 1.20, and prove that the server took every field that was left.

A rule lowers an API version or removes a field, and says what the older server does instead. The server must know
everything else: `dropped` finds what it did not take.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

Manifest = Mapping[str, Any]

# The same fields under an older name.
VERSIONS: Final = {
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "autoscaling/v2beta2",
    ("policy/v1", "PodDisruptionBudget"): "policy/v1beta1",
}
# Which API versions the server has for the kinds of these manifests.
SERVED: Final = {
    "apps/v1": {"Deployment"},
    "autoscaling/v2beta2": {"HorizontalPodAutoscaler"},
    "batch/v1": {"Job"},
    "networking.k8s.io/v1": {"Ingress", "NetworkPolicy"},
    "policy/v1beta1": {"PodDisruptionBudget"},
    "scheduling.k8s.io/v1": {"PriorityClass"},
    "v1": {"ConfigMap", "Namespace", "PersistentVolumeClaim", "Secret", "Service"},
}
# Of projects whose definitions are not part of Kubernetes: tests/deploy checks these manifests.
FOREIGN: Final = frozenset(("HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject"))


class UnknownToServerError(ValueError):
    """A manifest has a kind or version that Kubernetes 1.20 does not serve, and no rule lowers it."""


def lowered(manifest: Manifest) -> dict[str, Any]:
    """Return a copy that Kubernetes 1.20 knows. Raises `UnknownToServerError`."""
    found = copy.deepcopy(dict(manifest))
    version, kind = found["apiVersion"], found["kind"]
    found["apiVersion"] = VERSIONS.get((version, kind), version)
    if kind not in SERVED.get(found["apiVersion"], ()):
        raise UnknownToServerError(f"{version} {kind} {found['metadata']['name']}: add a rule to {__name__}")
    for remove in REMOVED.get(kind, ()):
        remove(found)
    return found


def _healthy_pods_only(budget: dict[str, Any]) -> None:
    """Remove the policy for unhealthy pods (1.27): 1.20 counts them as disrupted."""
    budget["spec"].pop("unhealthyPodEvictionPolicy", None)


def _all_pods_spread(deployment: dict[str, Any]) -> None:
    """Remove the keys by which only pods of one revision are spread (1.27): 1.20 spreads all."""
    for constraint in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
        constraint.pop("matchLabelKeys", None)


def _empty_volumes(deployment: dict[str, Any]) -> None:
    """Replace images as volumes (1.33) by empty folders, as 1.20 does when it drops the field."""
    for volume in deployment["spec"]["template"]["spec"].get("volumes", []):
        if volume.pop("image", None):
            volume["emptyDir"] = {}


REMOVED: Final[Mapping[str, Sequence[Callable[[dict[str, Any]], None]]]] = {
    "PodDisruptionBudget": (_healthy_pods_only,),
    "Deployment": (_all_pods_spread, _empty_volumes),
}


def dropped(sent: Any, answered: Any, where: str = "") -> Iterator[str]:
    """Yield the path of each field of `sent` that the server's answer lacks or has with another value.

    The server adds defaults, so the answer may have more. It may write a quantity in another way: `1000m` for `1`.
    """
    if isinstance(sent, Mapping):
        there = answered if isinstance(answered, Mapping) else {}
        for name, value in sent.items():
            if name in there:
                yield from dropped(value, there[name], f"{where}.{name}")
            elif value not in EMPTY:
                yield f"{where}.{name}"
    elif isinstance(sent, list) and isinstance(answered, list) and len(sent) == len(answered):
        for index, pair in enumerate(zip(sent, answered, strict=True)):
            yield from dropped(*pair, f"{where}[{index}]")
    elif sent != answered and sent not in EMPTY and not _is_same_quantity(sent, answered):
        yield where


EMPTY: Final[tuple[Any, ...]] = ({}, [], None, "")  # which an answer leaves out
UNITS: Final = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


def _is_same_quantity(left: Any, right: Any) -> bool:
    try:
        return _quantity(str(left)) == _quantity(str(right))
    except (KeyError, ValueError):
        return False


def _quantity(text: str) -> float:
    number = text.rstrip("".join({letter for unit in UNITS for letter in unit}))
    return round(float(number) * UNITS[text[len(number) :]], 6)
