"""The manifests let the autoscalers work, and no limit of a volume, a processor or a network stops a pod."""

import pytest

from service.gateway.backend.torchserve import SHARED_BATCHES
from service.host import torchserve
from tests.deploy.reading import OVERLAYS, bytes_of, of_kind, pods
from tests.deploy.test_kubernetes import SCALED, settings

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def test_the_process_that_feeds_a_gpu_is_not_throttled() -> None:
    (worker,) = pods("overlays/gpu")["worker"]["containers"]

    assert "cpu" not in worker["resources"]["limits"]


@pytest.mark.parametrize("overlay", ["base", "overlays/gpu"])
def test_the_fewest_gateways_admit_twice_what_the_most_workers_are_scaled_for(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise gateways reject requests while workers are idle, and the autoscaler sees no more demand."""
    scalers = {name: each["spec"] for name, each in of_kind(overlay, "HorizontalPodAutoscaler").items()}
    (metric,) = scalers["worker"]["metrics"]
    wanted = scalers["worker"]["maxReplicas"] * int(metric["external"]["target"]["averageValue"])

    assert scalers["gateway"]["minReplicas"] * settings(overlay, monkeypatch).max_in_flight >= 2 * wanted


def test_gateways_are_added_only_when_one_uses_more_than_a_core() -> None:
    """A gateway with less than its event loop and a decode process can use is not saturated."""
    (metric,) = of_kind("base", "HorizontalPodAutoscaler")["gateway"]["spec"]["metrics"]
    (gateway,) = pods("base")["gateway"]["containers"]

    assert float(gateway["resources"]["requests"]["cpu"]) * metric["resource"]["target"]["averageUtilization"] > 100


def test_a_worker_on_a_gpu_has_a_connection_for_each_batch_of_the_most_gateways() -> None:
    (worker,) = pods("overlays/gpu")["worker"]["containers"]
    variables = {each["name"]: each["value"] for each in worker["env"]}
    gateways = of_kind("overlays/gpu", "HorizontalPodAutoscaler")["gateway"]["spec"]["maxReplicas"]

    assert torchserve.connections_per_engine(variables) == SHARED_BATCHES * gateways


@every_overlay
def test_the_new_pods_of_a_rollout_are_spread_among_themselves(overlay: str) -> None:
    for name in SCALED:
        for constraint in pods(overlay)[name]["topologySpreadConstraints"]:
            assert constraint["matchLabelKeys"] == ["pod-template-hash"]


@every_overlay
def test_a_volume_changes_its_owner_only_if_it_has_another_one(overlay: str) -> None:
    for pod in pods(overlay).values():
        assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


@every_overlay
def test_names_are_resolved_by_the_clusters_dns_a_node_cache_or_openshift(overlay: str) -> None:
    for policy in of_kind(overlay, "NetworkPolicy").values():
        rules = [rule for rule in policy["spec"].get("egress", []) if {"port": 53, "protocol": "UDP"} in rule["ports"]]
        others = [
            rule for rule in policy["spec"].get("egress", []) if {"port": 5353, "protocol": "UDP"} in rule["ports"]
        ]
        assert len(rules) == len(others) == bool(policy["spec"].get("egress"))
        for rule in rules:
            assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in rule["to"]


@pytest.mark.parametrize("overlay", ["overlays/gpu", "overlays/local"])
def test_prometheus_deletes_samples_before_they_fill_its_volume(overlay: str) -> None:
    pod = pods(overlay)["prometheus"]
    (volume,) = [each["emptyDir"] for each in pod["volumes"] if "emptyDir" in each]
    flag = "--storage.tsdb.retention.size="
    (size,) = [each.removeprefix(flag) for each in pod["containers"][0]["args"] if each.startswith(flag)]

    assert bytes_of(size.removesuffix("B")) <= 0.8 * bytes_of(volume["sizeLimit"])
