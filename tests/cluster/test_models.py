"""Two models with workers of their own: their autoscalers and their disruption budgets do not depend on each other."""

from pathlib import Path

import pytest

from deploy.kubernetes import model_worker
from tests.cluster import shipped
from tests.cluster.fleet import WORKER, Cluster
from tests.cluster.kubelet import NodePool
from tests.cluster.kubernetes_api import collection
from tests.cluster.model_fleets import ModelFleets
from tests.cluster.scaling_runs import planned
from tests.deploy.test_model_workers import CLASSIFIER, SEGMENTER, invoke, overlay

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NAMESPACE, COLD_S = "two-models", 10.0
RISE_S = 20.0  # of the busy model's load, to five times what one worker is planned for
FEWEST, WANTED = 2, 5
INSTANCES = {model: model_worker.name_of(model) for model in (CLASSIFIER, SEGMENTER)}


def test_a_load_on_one_model_adds_workers_of_it_alone_and_each_has_its_own_budget(
    cluster: Cluster, tmp_path: Path
) -> None:
    for model in INSTANCES:
        invoke(model, "--into", tmp_path)
    found = overlay(tmp_path, "no-shared-worker", namespace=NAMESPACE)
    rate = planned(shipped.CPU)
    busy = shipped.fleet(NAMESPACE, found, shipped.CPU, lambda now: rate * (5 if now >= RISE_S else 1), stop_s=3.0)
    quiet = shipped.fleet(NAMESPACE, found, shipped.CPU, lambda _now: rate)
    fleets = ModelFleets({CLASSIFIER: busy, SEGMENTER: quiet}, INSTANCES)
    cluster.deploy(fleets, found, NodePool())
    shipped.start(cluster, fleets, workers=2 * FEWEST, cold_s=COLD_S)

    cluster.wait(lambda: workers(cluster, fleets, CLASSIFIER) >= WANTED, "the busy model has its workers", 180)
    cluster.wait(lambda: busy.samples[-1].ready >= WANTED, "they are ready")

    assert {each.workers for each in quiet.samples} == {FEWEST}
    assert desired(cluster, CLASSIFIER) >= WANTED
    assert desired(cluster, SEGMENTER) == FEWEST
    evicted = {
        model: [cluster.api.evict(NAMESPACE, name) for name in names(cluster, fleets, model)] for model in INSTANCES
    }
    assert [sum(each) for each in evicted.values()] == [1, 1], "one worker of each model may be away"
    cluster.wait(lambda: workers(cluster, fleets, SEGMENTER) == FEWEST, "the other one is replaced")
    assert (quiet.plant.counts.lost, quiet.plant.counts.rejected) == (0, 0)


def names(cluster: Cluster, fleets: ModelFleets, model: str) -> list[str]:
    """Return the names of the workers of a model, without those that end."""
    return [pod["metadata"]["name"] for pod in cluster.pods(fleets, WORKER) if fleets.is_of(model, pod)]


def workers(cluster: Cluster, fleets: ModelFleets, model: str) -> int:
    return len(names(cluster, fleets, model))


def desired(cluster: Cluster, model: str) -> int:
    """Return how many workers the autoscaler of a model wants."""
    path = collection("autoscaling/v2beta2", "HorizontalPodAutoscaler", NAMESPACE)
    return int(cluster.api.get(f"{path}/worker-{INSTANCES[model]}")["status"]["desiredReplicas"])
