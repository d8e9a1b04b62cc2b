"""Drains and other workloads on the nodes cost no answer, and serving pods take the place of others."""

import time
from typing import Any

import pytest

from tests.cluster import shipped
from tests.cluster.fleet import GATEWAY, WORKER, Cluster, Fleet
from tests.cluster.kubelet import GPU, NodePool, add_nodes, is_bound
from tests.cluster.kubernetes_api import collection

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("scaled"), pytest.mark.timeout(900)]

COLD_S = 15.0
DRAIN_S = 200.0
PREEMPT_S = 60.0  # of which the autoscaler may use 15, and the scheduler's retry 10


def on_node(cluster: Cluster, fleet: Fleet, node: str) -> list[dict[str, Any]]:
    pods = [pod for app in (GATEWAY, WORKER) for pod in cluster.pods(fleet, app)]
    return [pod for pod in pods if pod["spec"].get("nodeName") == node]


def test_a_node_with_all_pods_is_drained_within_the_budgets_and_no_image_is_lost(cluster: Cluster) -> None:
    found = shipped.manifests("drain")
    fleet = shipped.fleet("drain", found, shipped.CPU, lambda _now: 30.0)
    cluster.deploy(fleet, found, NodePool(plain=1))
    shipped.start(cluster, fleet, cold_s=COLD_S)
    drained, other = (node["metadata"]["name"] for node in NodePool(plain=2).manifests("drain"))
    add_nodes(cluster.api, NodePool(plain=2), "drain", there=[drained])
    assert len(on_node(cluster, fleet, drained)) == 4
    assert not on_node(cluster, fleet, other)
    cluster.api.patch(f"/api/v1/nodes/{drained}", {"spec": {"unschedulable": True}})

    refused: set[str] = set()
    least = {GATEWAY: 2, WORKER: 2}
    end = time.monotonic() + DRAIN_S
    while left := on_node(cluster, fleet, drained):
        assert time.monotonic() < end, f"{len(left)} pods are left after {DRAIN_S} s"
        refused |= {pod["metadata"]["name"] for pod in left if not cluster.api.evict("drain", pod["metadata"]["name"])}
        least = {app: min(count, cluster.ready(fleet, app)) for app, count in least.items()}
        time.sleep(1)

    assert len(refused) >= 2, "the budgets allow one gateway and one worker at a time"
    assert least == {GATEWAY: 1, WORKER: 1}
    assert (fleet.plant.counts.lost, fleet.plant.counts.rejected) == (0, 0)


def gpu_job(namespace: str) -> dict[str, Any]:
    """Return a batch job's pods, one for a GPU, without a priority class."""
    labels = {"app.kubernetes.io/name": "batch"}
    box = {"name": "batch", "image": "batch", "resources": {"limits": {GPU: "1"}}}
    pod = {"containers": [box], "tolerations": [{"key": GPU, "operator": "Exists"}], "terminationGracePeriodSeconds": 0}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": "batch", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("holder", ["spare", "batch"])
def test_a_worker_takes_the_gpu_of_a_pod_that_no_caller_waits_for(cluster: Cluster, holder: str) -> None:
    name = f"priority-{holder}"
    found = shipped.manifests(name, "overlays/gpu", ["warm-spare"] if holder == "spare" else [])
    shipped.set_workers(found, 2, 2)
    fleet = shipped.fleet(name, found, shipped.GPU, lambda _now: 100.0)
    cluster.deploy(fleet, found, NodePool(gpus=3))
    shipped.start(cluster, fleet, cold_s=COLD_S)
    if holder == "batch":
        cluster.create(gpu_job(name))
    cluster.wait(lambda: cluster.ready(fleet, holder) == 1, "the third GPU is taken")

    begun = time.monotonic()
    path = f"{collection('autoscaling/v1', 'HorizontalPodAutoscaler', name)}/worker"
    cluster.api.patch(path, {"spec": {"minReplicas": 3, "maxReplicas": 3}})
    cluster.wait(lambda: sum(map(is_bound, cluster.pods(fleet, WORKER))) == 3, "the third worker has a GPU")

    assert time.monotonic() - begun <= PREEMPT_S
    cluster.wait(lambda: [is_bound(pod) for pod in cluster.pods(fleet, holder)] == [False], "the other waits for a GPU")
