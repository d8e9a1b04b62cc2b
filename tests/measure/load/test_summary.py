"""Tests of the statistics of samples."""

import pytest

from service.measure.load.generator import OK, TIMED_OUT, Sample
from service.measure.load.summary import Window, figures, percentile, summarise


def sample(scheduled: float, ended: float, outcome: str = OK, images: int = 1, **stages: float) -> Sample:
    server_timing = ", ".join(f"{stage};dur={value}" for stage, value in stages.items())
    return Sample(scheduled, scheduled + 0.001, ended, outcome, images, server_timing)


@pytest.mark.parametrize(("share", "value"), [(50, 500.0), (90, 900.0), (95, 950.0), (99, 990.0), (99.9, 999.0)])
def test_a_percentile_is_the_value_of_its_rank(share: float, value: float) -> None:
    assert percentile([float(each) for each in range(1, 1001)], share) == value


@pytest.mark.parametrize(("count", "share"), [(0, 50), (5, 90), (20, 99), (999, 99.9)])
def test_a_percentile_that_so_few_values_cannot_tell_is_none(count: int, share: float) -> None:
    assert percentile([1.0] * count, share) is None


def test_a_lone_value_is_its_median() -> None:
    assert percentile([3.0], 50) == 3.0


def test_figures_are_of_all_values() -> None:
    found = figures([3.0, 1.0, 2.0])
    assert (found["mean"], found["p50"], found["max"]) == (2.0, 2.0, 3.0)
    assert figures([]) == {"mean": None, "p50": None, "p90": None, "p95": None, "p99": None, "p99.9": None, "max": None}


def test_throughput_counts_what_arrived_in_the_window_and_latency_what_was_due_in_it() -> None:
    window = Window(10.0, 12.0)
    samples = [
        sample(9.0, 9.5),  # due and arrived before the window
        sample(9.9, 10.1, images=4),  # due before the window, arrived in it
        sample(10.5, 11.0, images=4),
        sample(11.0, 11.5, images=4),
        sample(11.9, 13.9, images=4),  # due in the window, arrived after it
    ]
    found = summarise(samples, window)
    assert (found.requests_per_s, found.images_per_s) == (1.5, 6.0)
    assert found.requests == 3
    assert found.latency_ms["p50"] == pytest.approx(500)
    assert found.latency_ms["max"] == pytest.approx(2000)
    assert found.lag_ms["max"] == pytest.approx(1)


def test_errors_are_counted_by_code_and_their_quick_refusals_flatter_no_latency() -> None:
    samples = [sample(1.0, 1.4), sample(1.0, 1.001, "503 overloaded"), sample(1.0, 1.001, "503 overloaded")]
    found = summarise(samples, Window(0.0, 2.0))
    assert found.outcomes == {OK: 1, "503 overloaded": 2}
    assert found.errors == 2
    assert found.latency_ms["mean"] == pytest.approx(400)
    assert found.requests_per_s == 0.5


def test_an_answer_that_was_given_up_counts_with_the_time_it_was_waited_for() -> None:
    found = summarise([sample(0.0, 30.0, TIMED_OUT), sample(0.0, 1.0)], Window(0.0, 1.0))
    assert found.latency_ms["max"] == pytest.approx(30_000)
    assert found.errors == 1


def test_stages_have_their_own_figures() -> None:
    samples = [sample(0.1, 0.2, decode=1.0, queue=5.0), sample(0.2, 0.3, decode=3.0)]
    found = summarise(samples, Window(0.0, 1.0)).stages_ms
    assert (found["decode"]["mean"], found["queue"]["mean"]) == (2.0, 5.0)


def test_a_window_without_a_request_has_no_figures() -> None:
    found = summarise([], Window(0.0, 1.0))
    assert (found.requests, found.requests_per_s, found.latency_ms["p50"]) == (0, 0.0, None)
