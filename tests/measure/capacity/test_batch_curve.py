"""The curve of a batch's time is found again from closed loops of a server that has it."""

from dataclasses import replace

import pytest

from service.measure.capacity.batch_curve import BatchCurve, fit
from service.measure.load.summary import Figures
from service.measure.load.trial import Trial
from tests.measure.load.trials import make_trial


def closed(callers: int, curve: BatchCurve, *, errors: int = 0) -> Trial:
    """Return what callers see who keep a server busy: full batches of them, up to the largest."""
    batch = min(callers, curve.most)
    seconds = curve.batch_s + curve.image_s * batch
    trial = make_trial(callers, 10, 0.01, errors=errors, kind="closed")
    stages: dict[str, Figures] = {"inference": {"mean": 1e3 * seconds}}
    return replace(trial, summary=replace(trial.summary, images_per_s=batch / seconds, stages_ms=stages))


@pytest.mark.parametrize(
    "curve", [BatchCurve(0.003, 0.0185, 8), BatchCurve(0.002, 0.00025, 32), BatchCurve(0.0, 0.05, 4)]
)
def test_the_curve_of_a_server_is_found_again(curve: BatchCurve) -> None:
    found = fit([closed(callers, curve) for callers in (1, 4, 16, 64)])

    assert found is not None
    assert (found.batch_s, found.image_s) == pytest.approx((curve.batch_s, curve.image_s), abs=1e-6)
    assert found.most == curve.most


def test_a_server_that_builds_no_batches_has_only_the_time_of_an_image() -> None:
    found = fit([closed(callers, BatchCurve(0.0, 0.2, 1)) for callers in (1, 4, 16)])

    assert found is not None
    assert found.image_s == pytest.approx(0.2)
    assert (found.batch_s, found.most) == (0.0, 1)


def test_open_loops_loads_with_errors_and_servers_without_times_say_nothing() -> None:
    curve = BatchCurve(0.003, 0.0185, 8)
    silent = make_trial(4, 10, 0.01, kind="closed")

    assert fit([closed(1, curve), closed(4, curve, errors=1), make_trial(5, 10, 0.01), silent]) is None
