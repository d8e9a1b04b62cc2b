"""Do for all nodes what their kubelets do, without containers: start, make ready, and end the pods bound to them.

A pod becomes ready some seconds after it was bound, its cold start. A deleted pod ends some seconds after its deletion,
the time of its preStop hook. A pod whose image is broken runs, and is never ready.
"""

import contextlib
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.cluster.kubernetes_api import ApiError, KubernetesApi, Manifest, path_of

GPU: Final = "nvidia.com/gpu"
POOL: Final = "pool"  # the label by which a namespace names its nodes
APP: Final = "app.kubernetes.io/name"


@dataclass
class Behaviour:
    """How the pods of a namespace behave: seconds until ready by application, seconds to end, and broken images."""

    cold_s: Mapping[str, float]
    stop_s: float = 3.0
    broken_images: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class NodePool:
    """Nodes of a fleet: so many with a GPU and its taint, and so many without, each with `cores` and 64 GiB."""

    gpus: int = 0
    plain: int = 2
    cores: int = 64

    def manifests(self, namespace: str) -> list[dict[str, Any]]:
        """Return the nodes for a namespace."""
        nodes = [self._node(namespace, f"{namespace}-plain-{number}", number, 0) for number in range(self.plain)]
        return nodes + [self._node(namespace, f"{namespace}-gpu-{number}", number, 1) for number in range(self.gpus)]

    def _node(self, namespace: str, name: str, number: int, gpus: int) -> dict[str, Any]:
        zone = f"zone-{number % 3}"
        labels = {POOL: namespace, "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}
        room = {"cpu": str(self.cores), "memory": "64Gi", "pods": "110", GPU: str(gpus)}
        taints = [{"key": GPU, "value": "present", "effect": "NoSchedule"}] if gpus else []
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints},
            "status": {"capacity": room, "allocatable": room, "conditions": [_condition("Ready", is_true=True)]},
        }


def add_nodes(api: KubernetesApi, pool: NodePool, namespace: str, there: Collection[str] = ()) -> None:
    """Add the nodes of a pool that are not yet there; only the namespace's pods are placed on them."""
    for node in pool.manifests(namespace):
        if node["metadata"]["name"] in there:
            continue
        api.create(node)
        api.patch(path_of(node), {"spec": {"taints": node["spec"]["taints"]}})  # the server has added `not-ready`


def is_ready(pod: Manifest) -> bool:
    """Return whether a pod gets requests: it is ready and not ending."""
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and not is_ending(pod)


def is_ending(pod: Manifest) -> bool:
    """Return whether a pod has been deleted and has time to finish its work."""
    return "deletionTimestamp" in pod["metadata"]


def is_bound(pod: Manifest) -> bool:
    """Return whether a pod has a node."""
    return bool(pod["spec"].get("nodeName"))


def scheduling_failure(pod: Manifest) -> str:
    """Return why the scheduler found no node for a pod; an empty string if it did, or has not tried."""
    found = [each for each in pod["status"].get("conditions", []) if each["type"] == "PodScheduled"]
    return str(found[0].get("message", "")) if found and not is_bound(pod) else ""


def app_of(pod: Manifest) -> str:
    """Return the name of a pod's application."""
    return str(pod["metadata"].get("labels", {}).get(APP, ""))


class Kubelet:
    """The kubelets of all nodes. `step` is called some times a second."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._bound_at: dict[str, float] = {}
        self._ending_at: dict[str, float] = {}
        self._addresses = itertools.count(1)

    def step(self, pods: Sequence[Manifest], behaviours: Mapping[str, Behaviour], now: float) -> None:
        """Do what is due at `now`, in seconds of a clock that only goes forward."""
        for pod in pods:
            behaviour = behaviours.get(pod["metadata"]["namespace"])
            if behaviour is not None:
                # The pod may have been deleted since the list was read.
                with contextlib.suppress(ApiError):
                    self._step(pod, behaviour, now)

    def _step(self, pod: Manifest, behaviour: Behaviour, now: float) -> None:
        uid, path = pod["metadata"]["uid"], path_of({"apiVersion": "v1", "kind": "Pod", **pod})
        if is_ending(pod):
            asked = self._ending_at.setdefault(uid, now)
            if not is_bound(pod) or now - asked >= min(behaviour.stop_s, _grace_s(pod)):
                self._api.delete(path, grace_s=0)
        elif is_bound(pod):
            is_broken = bool(_images(pod) & behaviour.broken_images)
            since = now - self._bound_at.setdefault(uid, now)
            if pod["status"].get("phase") != "Running":
                self._api.patch(f"{path}/status", {"status": self._running(pod)})
            elif not is_ready(pod) and since >= behaviour.cold_s.get(app_of(pod), 1.0) and not is_broken:
                self._api.patch(f"{path}/status", {"status": _ready(pod)})

    def _running(self, pod: Manifest) -> dict[str, Any]:
        number = next(self._addresses)
        return {
            "phase": "Running",
            "startTime": _now(),
            "podIP": f"10.64.{number // 250}.{number % 250 + 1}",
            "conditions": _conditions(is_ready=False),
            "containerStatuses": _containers(pod, is_ready=False),
        }


def _ready(pod: Manifest) -> dict[str, Any]:
    return {"conditions": _conditions(is_ready=True), "containerStatuses": _containers(pod, is_ready=True)}


def _conditions(*, is_ready: bool) -> list[dict[str, str]]:
    states = {"Initialized": True, "PodScheduled": True, "ContainersReady": is_ready, "Ready": is_ready}
    return [_condition(name, is_true=state) for name, state in states.items()]


def _condition(name: str, *, is_true: bool) -> dict[str, str]:
    return {"type": name, "status": str(is_true), "lastTransitionTime": _now()}


def _containers(pod: Manifest, *, is_ready: bool) -> list[dict[str, Any]]:
    state = {"running": {"startedAt": _now()}}
    return [
        {
            "name": box["name"],
            "image": box["image"],
            "imageID": box["image"],
            "ready": is_ready,
            "started": is_ready,
            "restartCount": 0,
            "state": state,
        }
        for box in pod["spec"]["containers"]
    ]


def _images(pod: Manifest) -> set[str]:
    return {box["image"] for box in pod["spec"]["containers"]}


def _grace_s(pod: Manifest) -> float:
    return float(pod["metadata"].get("deletionGracePeriodSeconds", 0))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
