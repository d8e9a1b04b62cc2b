"""The weight of a canary grows while it keeps its objectives, as a real Prometheus sees real gateways."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from deploy.kubernetes import canary_rollout
from deploy.kubernetes.canary_rollout import BREACH, BURN, CANARY, KEPT, NO_DATA, NOT_BACK, REQUESTS, STABLE
from service.host.processes import free_port
from tests.deploy import fake_kubectl, reading
from tests.deploy.canaries import Pair, pair
from tests.deploy.live import until
from tests.deploy.programs import TOP
from tests.deploy.test_components import one, with_component

PODS, LEAST = 8, 2  # of the stable gateways: ready ones, and the fewest that their autoscaler keeps
WAIT_S = 3.0
FAST = ("--wait", str(WAIT_S), "--every", "0.25", "--least-requests", "3")


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("canary")) as found:
        yield found


class Cluster:
    """The state that a fake kubectl reads and writes."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state.json"
        self.programs = folder / "bin"
        self.programs.mkdir()
        program = self.programs / "kubectl"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {fake_kubectl.__file__} {self._state} "$@"\n', "utf-8")
        program.chmod(0o755)
        route = one(with_component("canary"), "HTTPRoute", "gateway")
        scaler = {"metadata": {"name": STABLE}, "spec": {"minReplicas": LEAST}}
        pods = {STABLE: PODS, CANARY: 1}
        state = {"route": route, "pods": pods, "unready": [], "hpa": scaler, "refusals": 0, "calls": []}
        self._state.write_text(json.dumps(state), encoding="utf-8")

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads(self._state.read_text(encoding="utf-8")))

    def change(self, **fields: Any) -> None:
        """Replace parts of the state, such as `unready`, the Deployments without a ready pod."""
        with fake_kubectl.changing(self._state) as state:
            state.update(fields)

    def least(self) -> int:
        """Return the least number of pods that the autoscaler of the stable gateways keeps."""
        return int(self.state["hpa"]["spec"]["minReplicas"])

    def weight(self) -> int:
        """Return the canary's weight, which all rules have in common."""
        (weights,) = {
            tuple((ref["name"], ref["weight"]) for ref in rule["backendRefs"])
            for rule in self.state["route"]["spec"]["rules"]
        }
        found = dict(weights)
        assert found.keys() == {STABLE, CANARY}
        assert sum(found.values()) == 100
        return int(found[CANARY])

    def weights(self) -> list[int]:
        """Return the canary's weights in the order in which they were set."""
        calls = [words for words in self.state["calls"] if words[:2] == ["patch", "httproute"]]
        patches = [word for words in calls for word in words if word.startswith("--patch=")]
        return [[each["value"] for each in json.loads(patch[8:]) if each["op"] == "add"][1] for patch in patches]

    def scales(self) -> list[int]:
        """Return the numbers of canary pods that were asked for."""
        return [int(words[2].partition("=")[2]) for words in self.state["calls"] if words[0] == "scale"]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def started(cluster: Cluster, prometheus: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", canary_rollout.__name__, "--prometheus", f"http://{prometheus}", *FAST, *words]
    environment = {**os.environ, "PATH": f"{cluster.programs}:{os.environ['PATH']}"}
    return subprocess.Popen(
        command, cwd=TOP, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run(cluster: Cluster, gateways: Pair, *words: str) -> tuple[int, str, Counter[tuple[str, int]]]:
    """Roll out under load; return the exit code, the output, and the answers by gateway and status."""
    with gateways.loaded(cluster.weight) as answers:
        process = started(cluster, gateways.prometheus.address, *words)
        output = process.communicate(timeout=120)[0]
    return process.returncode, output, answers


def test_a_canary_that_keeps_its_objectives_gets_all_traffic_in_steps_and_the_pods_for_it(
    cluster: Cluster, gateways: Pair
) -> None:
    """The stable gateways stay as many. Their autoscaler would remove them, and a rollback would meet the fewest."""
    code, output, answers = run(cluster, gateways)

    assert (code, cluster.weights()) == (0, [5, 25, 50, 100]), output
    assert cluster.scales() == [2, 4, 8]
    assert cluster.least() == PODS
    assert {status for _, status in answers} == {200}
    assert answers[CANARY, 200] > 20
    assert answers[STABLE, 200] > 20


def test_a_canary_whose_budget_burns_gets_nothing_more(cluster: Cluster, gateways: Pair) -> None:
    gateways.canary.is_broken = True
    try:
        code, output, answers = run(cluster, gateways, "--weights", "50,100")
    finally:
        gateways.canary.is_broken = False

    assert (code, cluster.weights(), cluster.weight()) == (BREACH, [50, 0], 0), output
    assert re.search(r"Stopped: at 50 % the budget burns at [\d.e+]+, above 14.4", output)
    assert {status for name, status in answers if name == STABLE} == {200}


def test_without_a_prometheus_the_weight_is_set_back(cluster: Cluster) -> None:
    process = started(cluster, f"127.0.0.1:{free_port()}")
    output = process.communicate(timeout=60)[0]

    assert (process.returncode, cluster.weights()) == (NO_DATA, [5, 0]), output
    assert "Prometheus does not answer" in output
    assert "has had nothing of resnest-gateway-canary for 3 checks" in output


def test_too_few_requests_are_no_proof(cluster: Cluster, gateways: Pair) -> None:
    code, output, _ = run(cluster, gateways, "--least-requests", "100000")

    assert (code, cluster.weights()) == (NO_DATA, [5, 0]), output
    assert re.search(r"at 5 % the canary has had \d+ predictions; 100000 in 300 s are needed", output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_rollout_that_is_interrupted_sets_the_weight_back(
    cluster: Cluster, gateways: Pair, number: signal.Signals
) -> None:
    process = started(cluster, gateways.prometheus.address, "--wait", "60", "--weights", "25", "--most-burn", "1e9")
    until(lambda: cluster.weights() == [25], "the first weight is set")
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]

    assert (process.returncode, cluster.weights()) == (1, [25, 0]), output


def end_without_prometheus(cluster: Cluster, refusals: int) -> tuple[int, str]:
    """Return the exit code and the output of a rollout that sets its weight back while so many calls are refused."""
    process = started(cluster, f"127.0.0.1:{free_port()}", "--wait", "60", "--every", "1")
    until(lambda: cluster.weights() == [5], "the first weight is set")
    cluster.change(refusals=refusals)
    output = process.communicate(timeout=60)[0]
    return process.returncode, output


def test_a_weight_that_cannot_be_set_back_is_told_above_all(cluster: Cluster) -> None:
    code, output = end_without_prometheus(cluster, refusals=1000)

    assert (code, cluster.weight()) == (NOT_BACK, 5), output
    assert "THE CANARY STILL HAS ITS SHARE" in output.splitlines()[-1]


def test_a_server_that_refuses_for_a_moment_does_not_leave_the_canary_its_share(cluster: Cluster) -> None:
    code, output = end_without_prometheus(cluster, refusals=1)

    assert (code, cluster.weight()) == (NO_DATA, 0), output


def test_neither_more_signals_nor_a_closed_terminal_keep_the_weight_from_being_set_back(cluster: Cluster) -> None:
    process = started(cluster, f"127.0.0.1:{free_port()}", "--wait", "60", "--every", "60")
    until(lambda: cluster.weights() == [5], "the first weight is set")
    cluster.change(refusals=1)  # so that setting it back takes two tries
    assert process.stdout
    process.stdout.close()
    process.send_signal(signal.SIGHUP)
    until(lambda: cluster.state["refusals"] == 0, "the first try was refused")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    process.wait(60)

    assert (cluster.weight(), cluster.least()) == (0, LEAST)


def test_a_canary_without_a_ready_pod_gets_no_traffic(cluster: Cluster) -> None:
    cluster.change(unready=[CANARY])
    process = started(cluster, "127.0.0.1:1")
    output = process.communicate(timeout=60)[0]

    assert (process.returncode, cluster.weights()) == (1, [0]), output
    assert "timed out waiting for the condition" in output


def test_a_canary_whose_pods_are_gone_loses_its_share_at_the_next_look(cluster: Cluster, gateways: Pair) -> None:
    words = ("--wait", "60", "--weights", "50", "--most-burn", "1e9")
    process = started(cluster, gateways.prometheus.address, *words)
    until(lambda: cluster.weights() == [50], "the first weight is set")
    cluster.change(unready=[CANARY])
    output = process.communicate(timeout=30)[0]

    assert (process.returncode, cluster.weights()) == (BREACH, [50, 0]), output
    assert "at 50 % no pod of gateway-canary is ready" in output


def in_a_rollout(cluster: Cluster) -> None:
    """Let the autoscaler keep as many stable gateways as an earlier rollout has left."""
    cluster.change(hpa={"metadata": {"annotations": {KEPT: str(LEAST)}}, "spec": {"minReplicas": PODS}})


@pytest.mark.parametrize("words", [("--weights", "5"), ("--back",)])
def test_the_autoscaler_is_as_before_after_a_stop_and_a_rollback(cluster: Cluster, words: tuple[str, ...]) -> None:
    in_a_rollout(cluster)
    process = started(cluster, f"127.0.0.1:{free_port()}", *words)
    output = process.communicate(timeout=60)[0]

    assert (cluster.weight(), cluster.least()) == (0, LEAST), output


def test_gateways_without_an_autoscaler_are_rolled_out_too(cluster: Cluster, gateways: Pair) -> None:
    cluster.change(hpa=None)
    code, output, _ = run(cluster, gateways, "--weights", "50,0", "--most-burn", "1e9")

    assert (code, cluster.weights()) == (0, [50, 0]), output


def test_what_is_missing_at_the_start_is_named_and_nothing_is_changed(cluster: Cluster) -> None:
    cluster.change(route=one(with_component("gateway-api"), "HTTPRoute", "gateway"))
    process = started(cluster, "127.0.0.1:1")
    output = process.communicate(timeout=60)[0]

    assert process.returncode == 1
    assert output == "Error: rule 0 of the HTTPRoute gateway does not lead to gateway-canary\n"
    assert {words[0] for words in cluster.state["calls"]} == {"get"}


def test_all_traffic_is_given_back_on_demand(cluster: Cluster) -> None:
    process = started(cluster, "127.0.0.1:1", "--back")
    output = process.communicate(timeout=60)[0]

    assert (process.returncode, cluster.weights(), cluster.scales()) == (0, [0], []), output


def test_a_share_that_falls_takes_the_pods_away_after_it_and_frees_the_autoscaler(
    cluster: Cluster, gateways: Pair
) -> None:
    in_a_rollout(cluster)
    code, output, _ = run(cluster, gateways, "--weights", "50,0", "--most-burn", "1e9")

    assert (code, cluster.weights(), cluster.scales()) == (0, [50, 0], [4, 1]), output
    assert cluster.least() == LEAST
    assert cluster.state["hpa"]["metadata"]["annotations"] == {}


@pytest.mark.parametrize("weights", ["", "5,x", "5,101", "-1"])
def test_weights_that_are_no_shares_are_refused(cluster: Cluster, weights: str) -> None:
    process = started(cluster, "127.0.0.1:1", "--weights", weights)

    assert "whole numbers from 0 to 100" in process.communicate(timeout=60)[0]
    assert (process.returncode, cluster.state["calls"]) == (2, [])


def test_a_route_without_the_canary_is_refused() -> None:
    route = one(with_component("gateway-api"), "HTTPRoute", "gateway")

    with pytest.raises(click.ClickException, match="rule 0 of the HTTPRoute gateway does not lead to gateway-canary"):
        canary_rollout.weight_changes(route, 5)


def test_the_queries_read_what_the_rules_record_of_the_job_that_is_scraped() -> None:
    recorded = {rule["record"] for rule in reading.rules("record")}
    found = {name for query in (BURN, REQUESTS) for name in reading.RECORDED.findall(query)}

    assert found == {"objective:resnest_burn:rate5m", "job:resnest_predictions:rate5m"}
    assert found <= recorded
    assert reading.scraped(canary_rollout.JOB)
