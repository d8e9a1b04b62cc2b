"""A rollout on a full pool of GPUs ends in the time that its parts take, and one that cannot start stops by itself."""

import time

import pytest

from tests.cluster import shipped
from tests.cluster.fleet import WORKER, Cluster, Fleet
from tests.cluster.kubelet import NodePool
from tests.cluster.kubernetes_api import collection

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("scaled"), pytest.mark.timeout(900)]

GPUS = 3
COLD_S, STOP_S = 15.0, 20.0
DEADLINE_S = 45.0
NEWER, BROKEN = "resnest-worker:0.2.0-cuda", "resnest-worker:broken"


def full_pool(cluster: Cluster, namespace: str, deadline_s: float | None = None) -> Fleet:
    """Return a fleet that uses all GPUs of its pool, under a load that all but one could answer."""
    found = shipped.manifests(namespace, "overlays/gpu")
    shipped.set_workers(found, GPUS, GPUS)
    if deadline_s is not None:
        shipped.one(found, "Deployment", WORKER)["spec"]["progressDeadlineSeconds"] = int(deadline_s)
    fleet = shipped.fleet(namespace, found, shipped.GPU, lambda _now: 200.0, stop_s=STOP_S)
    fleet.behaviour.broken_images.add(BROKEN)
    cluster.deploy(fleet, found, NodePool(gpus=GPUS))
    shipped.start(cluster, fleet, workers=GPUS, cold_s=COLD_S)
    return fleet


def path(fleet: Fleet) -> str:
    return f"{collection('apps/v1', 'Deployment', fleet.namespace)}/{WORKER}"


def roll(cluster: Cluster, fleet: Fleet, image: str) -> None:
    """Change the image of the workers, as `kubectl set image` does."""
    (box,) = cluster.api.get(path(fleet))["spec"]["template"]["spec"]["containers"]
    cluster.api.patch(path(fleet), {"spec": {"template": {"spec": {"containers": [{**box, "image": image}]}}}})


def has_rolled(cluster: Cluster, fleet: Fleet) -> bool:
    found = cluster.api.get(path(fleet))
    status = found["status"]
    counts = [status.get(name, 0) for name in ("updatedReplicas", "availableReplicas", "replicas")]
    return status["observedGeneration"] == found["metadata"]["generation"] and counts == [GPUS] * 3


def test_a_rollout_on_a_full_pool_replaces_one_worker_after_the_other_and_loses_no_image(cluster: Cluster) -> None:
    fleet = full_pool(cluster, "rollout")
    settled_s = cluster.api.get(path(fleet))["spec"]["minReadySeconds"]
    cluster.wait(lambda: has_rolled(cluster, fleet), "the first workers are available")
    bound_s = 1.2 * GPUS * (STOP_S + COLD_S + settled_s)

    roll(cluster, fleet, NEWER)
    begun, least = time.monotonic(), GPUS
    while not has_rolled(cluster, fleet):
        assert time.monotonic() - begun <= bound_s, f"the rollout has not ended after {bound_s:.0f} s"
        least = min(least, cluster.ready(fleet, WORKER))
        time.sleep(0.5)

    assert least == GPUS - 1
    assert {box["image"] for pod in cluster.pods(fleet, WORKER) for box in pod["spec"]["containers"]} == {NEWER}
    assert (fleet.plant.counts.lost, fleet.plant.counts.rejected) == (0, 0)


def reason(cluster: Cluster, fleet: Fleet) -> str:
    conditions = {each["type"]: each for each in cluster.api.get(path(fleet))["status"]["conditions"]}
    return str(conditions["Progressing"]["reason"])


def test_a_rollout_of_an_image_that_never_starts_costs_one_worker_and_is_reported(cluster: Cluster) -> None:
    fleet = full_pool(cluster, "broken", DEADLINE_S)
    cluster.wait(lambda: has_rolled(cluster, fleet), "the first workers are available")

    roll(cluster, fleet, BROKEN)
    cluster.wait(lambda: reason(cluster, fleet) == "ProgressDeadlineExceeded", "the rollout is reported as failed")
    images = [box["image"] for pod in cluster.pods(fleet, WORKER) for box in pod["spec"]["containers"]]
    ready = cluster.ready(fleet, WORKER)
    roll(cluster, fleet, NEWER)
    cluster.wait(lambda: has_rolled(cluster, fleet), "the next image is rolled out", 240)

    assert (images.count(BROKEN), ready) == (1, GPUS - 1)
    assert (fleet.plant.counts.lost, fleet.plant.counts.rejected) == (0, 0)
