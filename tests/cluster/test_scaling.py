"""The shipped autoscalers, run by the real controllers, follow the load and survive what usually goes wrong.

These tests come last: their fleets have been under load while other tests ran.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.cluster import scaling_figures, shipped
from tests.cluster.fleet import WORKER, Cluster, Fleet, Sample
from tests.cluster.kubelet import GPU
from tests.cluster.kubernetes_api import collection
from tests.cluster.scaling_figures import Figures
from tests.cluster.scaling_runs import END_S, FALL_S, LOST_S, RISE_S, RUNS, ScalingRun
from tests.deploy.programs import TOP

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(END_S + 300)]

RESULTS = TOP / "build/cluster/scaling.json"
SYNC_S = 15.0  # of the controller
# What a scrape, the controller and a cold start take before one more worker answers.
REACTION_S = shipped.scrape_interval_s() + SYNC_S + shipped.COLD_S
SETTLED_S = 120.0  # after the rise
# 0.5 % of a load of 50 minutes, of which 15 are at the highest.
RAMP_LOSS_S = 7.0
BY_NAME = {run.name: run for run in RUNS}
LOADS = ("step", "step-sized", "ramp", "ramp-sized")

every_load = pytest.mark.parametrize("name", LOADS)


@pytest.fixture(scope="module")
def histories(cluster: Cluster, scaled: dict[str, Fleet]) -> dict[str, list[Sample]]:
    """Return the samples of all runs, when the last has ended."""
    cluster.wait(lambda: all(fleet.samples[-1].at >= END_S for fleet in scaled.values()), "the runs end", END_S + 60)
    found = {name: list(fleet.samples) for name, fleet in scaled.items()}
    scaling_figures.write(RESULTS, found)
    return found


def of(histories: dict[str, list[Sample]], name: str) -> tuple[ScalingRun, Figures]:
    return BY_NAME[name], scaling_figures.figures(BY_NAME[name], histories[name])


def risen_s(run: ScalingRun) -> float:
    """Return when the load of a run first is at its highest, in seconds."""
    highest = max(run.rate(at) for at in range(int(END_S)))
    return next(at for at in range(int(END_S)) if run.rate(at) == highest)


def between(samples: Sequence[Sample], begin_s: float, end_s: float) -> list[Sample]:
    return [each for each in samples if begin_s <= each.at < end_s]


@every_load
def test_after_the_rise_workers_are_soon_enough_and_all_images_are_answered(
    histories: dict[str, list[Sample]], name: str
) -> None:
    run, found = of(histories, name)
    later = between(histories[name], risen_s(run) + SETTLED_S, FALL_S)

    assert found.enough_s is not None
    assert found.enough_s <= risen_s(run) - RISE_S + SETTLED_S
    assert later[-1].missed == later[0].missed


@every_load
def test_the_number_of_workers_grows_and_shrinks_once(histories: dict[str, list[Sample]], name: str) -> None:
    assert of(histories, name)[1].reversals <= 1


def reaction_loss_s(run: ScalingRun) -> float:
    """Return what two workers cannot answer until the first new ones do, in seconds of the highest load."""
    return REACTION_S * (1 - 2 * run.curve.capacity / run.rate(risen_s(run)))


@pytest.mark.parametrize("name", LOADS)
def test_a_rise_loses_what_two_workers_cannot_answer_while_others_start_and_no_more(
    histories: dict[str, list[Sample]], name: str
) -> None:
    run, found = of(histories, name)

    assert found.missed_s <= 1.1 * reaction_loss_s(run)


def test_a_ramp_loses_almost_nothing_with_the_numbers_of_capacity(histories: dict[str, list[Sample]]) -> None:
    _, found = of(histories, "ramp-sized")

    assert found.missed_s <= RAMP_LOSS_S


def test_without_any_metric_the_fewest_workers_run_and_the_autoscaler_says_why(
    cluster: Cluster, histories: dict[str, list[Sample]]
) -> None:
    assert {each.workers for each in histories["no-metric"]} == {2}
    assert condition(cluster, "no-metric", "ScalingActive") == ("False", "FailedGetExternalMetric")


def test_a_metric_that_is_lost_while_the_load_rises_removes_no_worker(
    cluster: Cluster, histories: dict[str, list[Sample]]
) -> None:
    assert {each.workers for each in histories["lost"] if each.at > LOST_S} == {2}
    assert condition(cluster, "lost", "ScalingActive") == ("False", "FailedGetExternalMetric")


def test_the_second_metric_adds_workers_while_the_first_is_lost_and_removes_none_under_load(
    histories: dict[str, list[Sample]],
) -> None:
    run, found = of(histories, "lost-sized")
    counts = [each.workers for each in between(histories["lost-sized"], RISE_S, FALL_S)]

    assert found.most >= run.wanted(RISE_S)
    assert counts == sorted(counts)


def test_workers_without_a_gpu_wait_for_one_and_say_so(
    scaled: dict[str, Fleet], histories: dict[str, list[Sample]]
) -> None:
    run = BY_NAME["three-gpus"]
    busy = between(histories["three-gpus"], RISE_S + REACTION_S + 30, FALL_S)

    assert max(each.pending for each in busy) >= run.wanted(RISE_S) - run.pool.gpus
    assert any(f"Insufficient {GPU}" in message for message in scaled["three-gpus"].unscheduled)
    assert {each.ready for each in busy} == {run.pool.gpus}


def condition(cluster: Cluster, namespace: str, kind: str) -> tuple[str, str]:
    """Return the status and the reason of a condition of the workers' autoscaler."""
    path = f"{collection('autoscaling/v2beta2', 'HorizontalPodAutoscaler', namespace)}/{WORKER}"
    found: list[dict[str, Any]] = cluster.api.get(path)["status"]["conditions"]
    (chosen,) = [each for each in found if each["type"] == kind]
    return chosen["status"], chosen["reason"]
