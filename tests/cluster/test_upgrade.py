"""An installation without the label of the instance takes the workers of today, as docs/operations/rollouts.md says."""

import time
from typing import Any

import pytest

from deploy.kubernetes.model_worker import INSTANCE
from tests.cluster import shipped
from tests.cluster.fleet import WORKER, Cluster
from tests.cluster.kubelet import NodePool
from tests.cluster.kubernetes_api import ApiError, collection
from tests.cluster.lowering import lowered

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NAMESPACE, WORKERS = "upgrade", 2
DEPLOYMENT = f"{collection('apps/v1', 'Deployment', NAMESPACE)}/{WORKER}"
OLD = f"app.kubernetes.io/name={WORKER},!{INSTANCE}"
REPLICA_SETS = collection("apps/v1", "ReplicaSet", NAMESPACE)


def without_instance(value: Any) -> Any:
    """Return a manifest as it was before the label was added to labels and selectors."""
    if isinstance(value, dict):
        return {key: without_instance(each) for key, each in value.items() if key != INSTANCE}
    return [without_instance(each) for each in value] if isinstance(value, list) else value


def instances(cluster: Cluster) -> set[str | None]:
    """Return the instances of the workers' pods, also of those that end."""
    pods = cluster.api.get(collection("v1", "Pod", NAMESPACE))["items"]
    labels = [pod["metadata"]["labels"] for pod in pods]
    return {each.get(INSTANCE) for each in labels if each["app.kubernetes.io/name"] == WORKER}


def is_gone(cluster: Cluster, path: str) -> bool:
    try:
        cluster.api.get(path)
    except ApiError as error:
        return error.status == 404
    return False


def test_the_selector_is_changed_by_orphans_and_loses_no_worker_and_no_image(cluster: Cluster) -> None:
    found = shipped.manifests(NAMESPACE)
    fleet = shipped.fleet(NAMESPACE, found, shipped.CPU, lambda _now: 10.0)
    cluster.deploy(fleet, [without_instance(each) for each in found], NodePool())
    shipped.start(cluster, fleet, workers=WORKERS, cold_s=10.0)
    new = shipped.one(found, "Deployment", WORKER)

    with pytest.raises(ApiError, match="field is immutable"):
        cluster.api.patch(DEPLOYMENT, {"spec": lowered(new)["spec"]})
    cluster.api.delete(DEPLOYMENT, orphan=True)
    cluster.wait(lambda: is_gone(cluster, DEPLOYMENT), "the Deployment is gone")
    assert cluster.ready(fleet, WORKER) == WORKERS
    cluster.create(new)
    cluster.wait(lambda: cluster.ready(fleet, WORKER) == 2 * WORKERS, "the new workers are ready beside the old ones")
    for old in cluster.api.get(REPLICA_SETS)["items"]:
        if (
            old["metadata"]["labels"].get("app.kubernetes.io/name") == WORKER
            and INSTANCE not in old["metadata"]["labels"]
        ):
            cluster.api.delete(f"{REPLICA_SETS}/{old['metadata']['name']}")
    least, begun = 2 * WORKERS, time.monotonic()
    while instances(cluster) != {"all-models"}:
        assert time.monotonic() - begun < 120, "the old pods do not end"
        least = min(least, cluster.ready(fleet, WORKER))
        time.sleep(0.5)

    assert least >= WORKERS
    assert (fleet.plant.counts.lost, fleet.plant.counts.rejected) == (0, 0)
