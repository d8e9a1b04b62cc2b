"""The simulated service behaves as queueing theory says, and loses no image without counting it."""

import math

import pytest

from service.measure.capacity.component import IN_FLIGHT, OFFERED
from tests.cluster.fleet_metrics import IDLE_CORES, FleetMetrics
from tests.cluster.plant import BatchCurve, Plant

LONE = BatchCurve(0.0, 0.01, 1)  # 100 images/s, one at a time
BATCHES = BatchCurve(0.02, 0.005, 8)  # 133 images/s
MANY = 1_000_000


def plant(curve: BatchCurve, rate: float, *, slots: int = MANY, workers: int = 1, deadline_s: float = 10.0) -> Plant:
    made = Plant(curve, slots, deadline_s, lambda _now: rate)
    made.set_pods([f"worker-{number}" for number in range(workers)], [], gateways=1)
    return made


def test_a_worker_with_a_constant_time_has_the_mean_wait_of_the_pollaczek_khinchine_formula() -> None:
    load = 0.7
    made = plant(LONE, load / LONE.image_s)
    made.advance(2000.0)

    wait_s = load * LONE.image_s / (2 * (1 - load))
    assert sum(made.times) / len(made.times) == pytest.approx(LONE.image_s + wait_s, rel=0.05)


def test_an_overloaded_worker_answers_at_its_capacity_and_the_rest_is_rejected() -> None:
    made = plant(BATCHES, 400.0, slots=64)
    made.advance(100.0)

    assert made.counts.answered / 100 == pytest.approx(BATCHES.capacity, rel=0.02)
    assert made.counts.rejected / 100 == pytest.approx(400 - BATCHES.capacity, rel=0.02)
    assert 64 - BATCHES.largest <= made.in_flight <= 64


def test_every_image_is_answered_rejected_lost_or_in_flight() -> None:
    made = plant(BATCHES, 300.0, slots=32, workers=3)
    made.advance(5.0)
    made.set_pods(["worker-1"], ["worker-2"], gateways=1)
    made.advance(10.0)
    counts = made.counts

    assert counts.lost > 0
    assert counts.offered == counts.answered + counts.rejected + counts.lost + made.in_flight


def test_a_worker_that_ends_finishes_its_images_and_gets_no_more() -> None:
    made = plant(BATCHES, 200.0, workers=2)
    made.advance(1.0)
    made.set_pods([], ["worker-0", "worker-1"], gateways=1)
    rejected = made.counts.rejected
    made.advance(5.0)
    made.set_pods([], [], gateways=1)

    assert (made.in_flight, made.counts.lost) == (0, 0)
    assert made.counts.rejected - rejected == made.counts.offered - made.counts.answered - rejected


def test_an_answer_after_the_deadline_is_late() -> None:
    made = plant(BATCHES, 400.0, slots=64, deadline_s=0.3)
    made.advance(20.0)

    # 64 images wait for a worker with 133 images/s: 0.48 s.
    assert made.counts.late == pytest.approx(made.counts.answered, rel=0.05)


def test_without_a_gateway_nothing_is_admitted() -> None:
    made = plant(BATCHES, 100.0)
    made.set_pods(["worker-0"], [], gateways=0)
    made.advance(1.0)

    assert made.counts.rejected == made.counts.offered > 0


def test_autoscalers_see_the_last_scrape_and_the_rate_of_the_last_minute() -> None:
    made = plant(BATCHES, 400.0, slots=64)
    metrics = FleetMetrics(made, interval_s=15.0, gateway_core_s=0.004)
    metrics.advance(14.9)
    assert metrics.external(IN_FLIGHT) == 0

    metrics.advance(200.0)

    assert metrics.external(IN_FLIGHT) == pytest.approx(64, abs=BATCHES.largest)
    assert metrics.external(OFFERED) == pytest.approx(400, rel=0.05)
    assert metrics.gateway_cores(2) == pytest.approx(IDLE_CORES + 0.8, rel=0.1)


def test_a_metric_that_is_lost_has_no_value() -> None:
    metrics = FleetMetrics(plant(BATCHES, 100.0), interval_s=15.0, gateway_core_s=0.004)
    metrics.lose([IN_FLIGHT], 60.0)
    metrics.advance(59.0)
    before = metrics.external(IN_FLIGHT)
    metrics.advance(61.0)

    assert before is not None
    assert metrics.external(IN_FLIGHT) is None
    assert metrics.external(OFFERED) is not None
    assert metrics.external("resnest_unknown") is None


def test_the_capacity_of_a_curve_is_that_of_full_batches() -> None:
    assert math.isclose(BATCHES.capacity, 8 / 0.06)
