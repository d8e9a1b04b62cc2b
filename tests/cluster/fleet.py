"""A deployment under test: manifests in a namespace of a real control plane, with a simulated service behind them."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, Self

import httpx
import numpy as np

from tests.cluster.fleet_metrics import FleetMetrics
from tests.cluster.kubelet import (
    Behaviour,
    Kubelet,
    NodePool,
    add_nodes,
    app_of,
    is_bound,
    is_ending,
    is_ready,
    scheduling_failure,
)
from tests.cluster.kubernetes_api import CLUSTER_WIDE, CONFLICT, ApiError, KubernetesApi, Manifest, collection
from tests.cluster.lowering import FOREIGN, dropped, lowered
from tests.cluster.metrics_api import MetricSource
from tests.cluster.plant import Plant
from tests.deploy.live import until

STEP_S: Final = 0.5  # between two lists of the pods
SAMPLE_S: Final = 5.0
GATEWAY, WORKER = "gateway", "worker"
SCHEDULER: Final = "scheduler.alpha.kubernetes.io/node-selector"  # read by the admission plugin PodNodeSelector


class Sample(NamedTuple):
    """A fleet at a time: seconds since its start, images/s, pods, and images since the start."""

    at: float
    rate: float
    workers: int  # that the Deployment has made, without those that end
    ready: int
    pending: int  # without a node
    gateways: int
    in_flight: int
    offered: int
    missed: int
    p95_s: float | None  # of the images answered since the sample before


class Deployed(MetricSource, Protocol):
    """What stands behind the pods of a namespace."""

    namespace: str
    behaviour: Behaviour

    def start(self) -> None:
        """Let callers send images from now on."""

    def see(self, pods: Sequence[Manifest]) -> None:
        """Take note of the pods, and advance the service to now."""


@dataclass
class Fleet:
    """A namespace with its simulated service. `see` is called some times a second with the pods of the namespace."""

    namespace: str
    plant: Plant
    metrics: FleetMetrics
    behaviour: Behaviour
    samples: list[Sample] = field(default_factory=list)
    unscheduled: set[str] = field(default_factory=set)  # what the scheduler said of workers without a node
    _started: float | None = None
    _pods: Sequence[Manifest] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Let callers send images from now on."""
        self._started = time.monotonic()

    def see(self, pods: Sequence[Manifest]) -> None:
        """Take note of the pods, and advance the service to now."""
        workers = [pod for pod in pods if app_of(pod) == WORKER]
        with self._lock:
            if self._started is not None:
                self.metrics.advance(time.monotonic() - self._started)
            self._pods = pods
            ready = [pod["metadata"]["name"] for pod in workers if is_ready(pod)]
            ending = [pod["metadata"]["name"] for pod in workers if is_ending(pod)]
            self.plant.set_pods(ready, ending, len(self._ready_gateways()))
            if self._started is not None:
                self._sample(time.monotonic() - self._started, workers)

    def external(self, name: str, _models: Sequence[str] = ()) -> float | None:
        """Return the value of an external metric at the last scrape. All images are of one model."""
        with self._lock:
            return self.metrics.external(name)

    def cores(self) -> Mapping[str, tuple[Mapping[str, Any], float]]:
        """Return the metadata and the cores in use of each ready gateway, by name."""
        with self._lock:
            gateways = self._ready_gateways()
            used = self.metrics.gateway_cores(len(gateways))
            return {pod["metadata"]["name"]: (pod["metadata"], used) for pod in gateways}

    def _ready_gateways(self) -> list[Manifest]:
        return [pod for pod in self._pods if app_of(pod) == GATEWAY and is_ready(pod)]

    def _sample(self, now: float, workers: Sequence[Manifest]) -> None:
        if self.samples and now < self.samples[-1].at + SAMPLE_S:
            return
        staying = [pod for pod in workers if not is_ending(pod)]
        self.unscheduled |= {message for pod in staying if (message := scheduling_failure(pod))}
        times, self.plant.times = self.plant.times, []
        self.samples.append(
            Sample(
                at=now,
                rate=self.plant.rate_at(now),
                workers=len(staying),
                ready=sum(map(is_ready, staying)),
                pending=sum(not is_bound(pod) for pod in staying),
                gateways=len(self._ready_gateways()),
                in_flight=self.plant.in_flight,
                offered=self.plant.counts.offered,
                missed=self.plant.counts.missed,
                p95_s=float(np.percentile(times, 95)) if times else None,
            )
        )


class Cluster:
    """The fleets on one control plane, and the thread that does what their kubelets and callers do."""

    def __init__(self, api: KubernetesApi, fleets: dict[str, Deployed], kubeconfig: Path) -> None:
        """Take the API, the fleets by namespace, and the file by which kubectl reaches the API."""
        self.api = api
        self.kubeconfig = kubeconfig
        self.fleets = fleets
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def deploy(self, fleet: Deployed, manifests: Sequence[Manifest], pool: NodePool) -> None:
        """Create the nodes and the manifests of a fleet in its namespace, which kustomize has set."""
        metadata = {"name": fleet.namespace, "annotations": {SCHEDULER: f"pool={fleet.namespace}"}}
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        add_nodes(self.api, pool, fleet.namespace)
        self.fleets[fleet.namespace] = fleet
        for manifest in manifests:
            if manifest["kind"] not in {*FOREIGN, "Namespace"}:
                self.create(manifest)

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> None:
        """Create a manifest of today, lowered. Raises `AssertionError` if the server drops a field."""
        sent = lowered(manifest)
        try:
            answered = self.api.create(sent, dry_run=dry_run)
        except ApiError as error:
            if error.status == CONFLICT and manifest["kind"] in CLUSTER_WIDE:  # another fleet has made it
                return
            raise
        missing = [*dropped(sent, answered)]
        assert not missing, f"{sent['kind']} {sent['metadata']['name']}: the server dropped {', '.join(missing)}"

    def pods(self, fleet: Deployed, app: str) -> list[dict[str, Any]]:
        """Return the pods of an application that do not end."""
        found = self.api.get(collection("v1", "Pod", fleet.namespace))["items"]
        return [pod for pod in found if app_of(pod) == app and not is_ending(pod)]

    def ready(self, fleet: Deployed, app: str) -> int:
        """Return how many pods of an application are ready."""
        return sum(map(is_ready, self.pods(fleet, app)))

    def wait(self, what: Callable[[], Any], reason: str, within_s: float = 120.0) -> None:
        """Return as soon as the callable returns something truthy; fail after `within_s`."""
        until(what, reason, within_s, STEP_S)

    def _run(self) -> None:
        kubelet = Kubelet(self.api)
        while not self._stopping.wait(STEP_S):
            try:
                pods = self.api.get("/api/v1/pods")["items"]
            except httpx.TransportError:  # the server is busy: the next list counts
                continue
            fleets = dict(self.fleets)
            kubelet.step(pods, {name: fleet.behaviour for name, fleet in fleets.items()}, time.monotonic())
            for name, fleet in fleets.items():
                fleet.see([pod for pod in pods if pod["metadata"]["namespace"] == name])
