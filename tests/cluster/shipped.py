"""Make fleets from the manifests of `deploy/kubernetes`, with a simulated service that has their settings."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from service.config.settings import Settings
from service.measure.capacity import component
from service.measure.capacity.sizing import Fleet as Wanted
from service.measure.capacity.sizing import size
from tests.cluster.capacity import measured
from tests.cluster.fleet import GATEWAY, WORKER, Cluster, Deployed, Fleet
from tests.cluster.fleet_metrics import FleetMetrics
from tests.cluster.kubelet import Behaviour
from tests.cluster.plant import BatchCurve, Plant
from tests.deploy import reading

# ResNeSt-50 on two cores, as in tests/measure/capacity/test_sizing.py: 53 images/s.
CPU: Final = BatchCurve(0.003, 0.0185, 8)
# A segmenter on a GPU, guessed in the same test: 199 images/s. No GPU has been measured.
GPU: Final = BatchCurve(0.005, 0.0044, 8)
GATEWAY_CORE_S: Final = 0.0039  # for an image of 0.17 megapixels, in the same test
COLD_S: Final = 60.0  # of a worker whose image is on the node, as in docs/operations/scale.md
GATEWAY_COLD_S: Final = 5.0
MAX_WORKERS, MIN_GATEWAYS = 8, 2  # of base/autoscaling.yaml
P95_S: Final = 0.25  # of the example in docs/operations/scale.md

Manifests = list[dict[str, Any]]


def manifests(namespace: str, overlay: str = "base", components: Sequence[str | Path] = ()) -> Manifests:
    """Return the manifests of an overlay in a namespace, with components by name or folder."""
    folders = [reading.KUBERNETES / "components" / each for each in components]  # a folder stays what it is
    return reading.build(folders, overlay, namespace)


def one(found: Manifests, kind: str, name: str) -> dict[str, Any]:
    """Return the manifest of a kind and name."""
    (chosen,) = [each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return chosen


def sized(folder: Path, curve: BatchCurve) -> Path:
    """Write the component that `resnest-service capacity` would write for workers with this curve."""
    sizing = size(measured(curve, P95_S, GATEWAY_CORE_S), Wanted(MAX_WORKERS, MIN_GATEWAYS, P95_S))
    component.write(folder, sizing, MAX_WORKERS, "hpa", f"Of a simulated worker with {curve.capacity:.0f} images/s.")
    return folder


def fleet(
    namespace: str, found: Manifests, curve: BatchCurve, rate: Callable[[float], float], *, stop_s: float = 20.0
) -> Fleet:
    """Return a fleet of these manifests whose callers send `rate(seconds)` images a second.

    Pods are ready at once until `start`, so that a test begins with pods that run.
    """
    plant = Plant(curve, slots(found), deadline_s(), rate)
    behaviour = Behaviour(cold_s={WORKER: 1.0, GATEWAY: 1.0}, stop_s=stop_s)
    return Fleet(namespace, plant, FleetMetrics(plant, scrape_interval_s(), GATEWAY_CORE_S), behaviour)


def start(cluster: Cluster, *fleets: Deployed, workers: int = 2, cold_s: float = COLD_S) -> None:
    """Wait for the first pods of the fleets, then let callers send images and new pods start slowly."""
    for each in fleets:
        for app, count in ((WORKER, workers), (GATEWAY, MIN_GATEWAYS)):
            cluster.wait(lambda: cluster.ready(each, app) >= count, f"{each.namespace} has {count} of {app}")  # noqa: B023
    for each in fleets:
        each.behaviour.cold_s = {WORKER: cold_s, GATEWAY: GATEWAY_COLD_S}
        each.start()


def slots(found: Manifests) -> int:
    """Return the images that a gateway of these manifests admits at a time."""
    (settings,) = [each["data"] for each in found if each["metadata"]["name"].startswith("gateway-") and "data" in each]
    return int(settings.get("RESNEST_MAX_IN_FLIGHT", Settings.model_fields["max_in_flight"].default))


def scrape_interval_s() -> float:
    """Return the interval of deploy/prometheus in seconds."""
    interval: Mapping[str, str] = reading.load("deploy/prometheus/prometheus.yml")["global"]
    return float(interval["scrape_interval"].removesuffix("s"))


def deadline_s() -> float:
    """Return the time within which the latency objective wants an answer, in seconds."""
    text = (reading.PROMETHEUS / "objectives.toml").read_text(encoding="utf-8")
    (bound,) = set(re.findall(r'le="([\d.]+)"', text))
    return float(bound)


def set_workers(found: Manifests, least: int, most: int) -> None:
    """Change the bounds of the workers' autoscaler, as a patch of an overlay does."""
    one(found, "HorizontalPodAutoscaler", WORKER)["spec"] |= {"minReplicas": least, "maxReplicas": most}
