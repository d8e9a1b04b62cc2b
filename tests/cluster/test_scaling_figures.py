"""The figures of a run are those of its samples."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cluster import scaling_figures, scaling_runs
from tests.cluster.fleet import Sample
from tests.cluster.scaling_runs import RISE_S, RUNS, ScalingRun

RUN = ScalingRun("step", scaling_runs.step(RUNS[0].curve))


def sample(at: float, workers: int, ready: int, missed: int = 0) -> Sample:
    return Sample(at, RUN.rate(at), workers, ready, 0, 2, 3, 10_000, missed, 0.1)


def test_a_load_needs_the_workers_that_carry_it_at_the_planned_share() -> None:
    assert (RUN.wanted(0), RUN.wanted(RISE_S)) == (2, 5)


def test_the_ramp_rises_from_one_worker_to_five_and_falls_at_once() -> None:
    rate = scaling_runs.ramp(RUN.curve)
    times = (0, RISE_S, RISE_S + scaling_runs.RAMP_S / 2, scaling_runs.FALL_S - 1, scaling_runs.FALL_S)

    assert [rate(at) / scaling_runs.planned(RUN.curve) for at in times] == pytest.approx([1, 1, 3, 5, 1])


def test_the_figures_say_when_there_were_enough_workers_and_what_that_cost() -> None:
    samples = [
        sample(0, 2, 2),
        sample(RISE_S, 2, 2),
        sample(RISE_S + 30, 6, 2, 1000),
        sample(RISE_S + 90, 6, 6, 1500),
        sample(RISE_S + 330, 3, 3, 1500),
    ]

    found = scaling_figures.figures(RUN, samples)

    assert (found.wanted, found.most, found.enough_s, found.reversals) == (5, 6, 90.0, 1)
    assert found.missed_s == pytest.approx(1500 / RUN.rate(RISE_S))
    assert found.hours == pytest.approx((2 * RISE_S + 2 * 30 + 6 * 60 + 6 * 240) / 3600)
    assert found.ideal == pytest.approx((2 * RISE_S + 5 * 330) / 3600)


def test_too_few_workers_to_the_end_are_never_enough() -> None:
    assert scaling_figures.figures(RUN, [sample(0, 2, 2), sample(RISE_S, 2, 2)]).enough_s is None


@pytest.mark.parametrize(("counts", "turns"), [([2, 2, 4, 6, 6, 3, 2], 1), ([2, 3, 2, 3], 2), ([2, 2], 0)])
def test_a_turn_of_the_number_of_workers_is_a_reversal(counts: list[int], turns: int) -> None:
    assert scaling_figures.reversals(counts) == turns


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    samples = {"step": [sample(0, 2, 2), sample(5, 3, 2)._replace(p95_s=None)]}
    scaling_figures.write(tmp_path / "new/scaling.json", samples)

    assert scaling_figures.read(tmp_path / "new/scaling.json") == samples


def test_the_program_prints_a_row_for_each_run_and_draws_the_loads(tmp_path: Path) -> None:
    samples = [sample(0, 2, 2), sample(RISE_S, 2, 2), sample(RISE_S + 90, 6, 6, 1500)]
    scaling_figures.write(tmp_path / "scaling.json", {run.name: samples for run in RUNS})

    done = CliRunner().invoke(scaling_figures.main, [str(tmp_path / "scaling.json"), "--into", str(tmp_path)])

    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()[1:]] == [run.name for run in RUNS]
    assert json.loads((tmp_path / "autoscaling.json").read_text(encoding="utf-8"))["step"]["most"] == 6
    assert (tmp_path / "autoscaling.svg").read_text(encoding="utf-8").count("ready workers") == 1
