"""The rollout of a canary through a real kubectl and API server, judged by a real Prometheus with two real gateways."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.kubernetes import canary_rollout
from deploy.kubernetes.canary_rollout import BREACH, CANARY, KEPT, STABLE
from tests.cluster import shipped
from tests.cluster.fleet import Cluster
from tests.cluster.kubelet import NodePool
from tests.cluster.kubernetes_api import ApiError, collection
from tests.deploy.canaries import Pair, pair
from tests.deploy.programs import TOP

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NAMESPACE, GATEWAYS, LEAST = "canary", 2, 1
GROUP = "gateway.networking.k8s.io"
AUTOSCALER = f"{collection('autoscaling/v2beta2', 'HorizontalPodAutoscaler', NAMESPACE)}/{STABLE}"
ROUTE = f"{collection(f'{GROUP}/v1', 'HTTPRoute', NAMESPACE)}/gateway"
# The server keeps routes and patches them. No controller of the Gateway API is at hand, nor its own definition.
DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": f"httproutes.{GROUP}",
        "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
    },
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "httproutes", "singular": "httproute", "kind": "HTTPRoute"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def deploy(cluster: Cluster) -> None:
    """Deploy the base with the canary, and the route that leads to both."""
    found = shipped.manifests(NAMESPACE, "base", ["gateway-api", "canary"])
    fleet = shipped.fleet(NAMESPACE, found, shipped.CPU, lambda _now: 1.0, stop_s=1.0)
    cluster.api.create(DEFINITION)
    cluster.deploy(fleet, found, NodePool())
    route = shipped.one(found, "HTTPRoute", "gateway")
    cluster.wait(lambda: is_created(cluster, route), "the server knows routes")
    cluster.wait(lambda: cluster.ready(fleet, STABLE) == GATEWAYS, "the gateways are ready")
    cluster.wait(lambda: cluster.ready(fleet, CANARY) == 1, "the canary is ready")


def is_created(cluster: Cluster, route: dict[str, Any]) -> bool:
    try:
        cluster.api.create(route)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


def weights(cluster: Cluster) -> dict[str, int]:
    """Return the weights of the route, which all rules have in common."""
    rules = cluster.api.get(ROUTE)["spec"]["rules"]
    ((stable, canary),) = {tuple((each["name"], each["weight"]) for each in rule["backendRefs"]) for rule in rules}
    return dict((stable, canary))


def pods(cluster: Cluster) -> tuple[int, int]:
    """Return how many canary pods are wanted, and how many are ready."""
    found = cluster.api.get(f"{collection('apps/v1', 'Deployment', NAMESPACE)}/{CANARY}")
    return found["spec"]["replicas"], found["status"].get("readyReplicas", 0)


def autoscaler(cluster: Cluster) -> tuple[int, dict[str, str]]:
    """Return the least number of stable pods that the autoscaler keeps, and its annotations."""
    found = cluster.api.get(AUTOSCALER)
    return found["spec"]["minReplicas"], found["metadata"].get("annotations", {})


def run(cluster: Cluster, gateways: Pair) -> subprocess.CompletedProcess[str]:
    """Roll out, under the load that the route would give each gateway."""
    options = ("--wait", "3", "--every", "0.25", "--least-requests", "3", "--namespace", NAMESPACE)
    command = [sys.executable, "-m", canary_rollout.__name__, "--prometheus", f"http://{gateways.prometheus.address}"]
    with gateways.loaded(lambda: weights(cluster)[CANARY]):
        return subprocess.run(
            [*command, *options],
            cwd=TOP,
            env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )


def test_a_canary_gets_all_traffic_and_pods_and_loses_the_traffic_when_it_fails(
    cluster: Cluster, tmp_path: Path
) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    deploy(cluster)
    assert weights(cluster) == {STABLE: 100, CANARY: 0}
    cluster.api.patch(AUTOSCALER, {"spec": {"minReplicas": LEAST}})
    with pair(tmp_path) as gateways:
        good = run(cluster, gateways)
        after, held = (weights(cluster), pods(cluster)), autoscaler(cluster)
        gateways.canary.is_broken = True
        bad = run(cluster, gateways)

    assert good.returncode == 0, good.stderr
    assert after == ({STABLE: 0, CANARY: 100}, (GATEWAYS, GATEWAYS))
    assert (held[0], held[1][KEPT]) == (GATEWAYS, str(LEAST))
    assert bad.returncode == BREACH, bad.stderr
    assert weights(cluster) == {STABLE: 100, CANARY: 0}
    least, annotations = autoscaler(cluster)
    assert (least, KEPT in annotations) == (LEAST, False)
