"""The calibration of made-up logits whose truth is known, against its definitions."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.tasks.classification import calibration
from service.tasks.classification.calibration import Known
from service.tasks.scoring_base import PipelineOutput

IMAGES = 4000
CLASSES = 5

Logits = npt.NDArray[np.float64]


def outputs(logits: Logits) -> list[PipelineOutput]:
    """Return what a model with neutral calibration returns for these logits."""
    powers = np.exp(logits)
    total = powers.sum(axis=1, keepdims=True)
    largest = logits.max(axis=1, keepdims=True).astype(np.float32)
    rows: Iterable[Any] = zip((powers / total).astype(np.float32), largest, strict=True)
    return [PipelineOutput({"scores": scores, "max_logit": each}, 9, 9) for scores, each in rows]


def known(sharpness: float, seed: int = 0) -> Known:
    """Return images whose classes have the probabilities of their logits, and logits `sharpness` times as large."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(IMAGES, CLASSES), scale=2)
    true = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return Known(outputs(logits * sharpness), true.tolist())


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 3.0])
def test_the_temperature_undoes_a_wrong_sharpness(sharpness: float) -> None:
    fitted = calibration.fit(known(sharpness), 0.05)

    rates = calibration.measure(fitted, known(sharpness, seed=1))

    assert fitted["temperature"] == pytest.approx(sharpness, rel=0.05)
    assert rates.ece_after < 0.025
    assert rates.ece_before > 0.08


def test_scores_that_are_right_keep_their_temperature_or_gain_by_another() -> None:
    given = known(1.0)

    fitted = calibration.fit(given, 0.05)

    assert fitted["temperature"] == pytest.approx(1, abs=0.05)
    assert calibration.calibration_error(given, fitted["temperature"]) <= calibration.calibration_error(given, 1.0)


def test_the_logits_are_found_from_scores_and_the_largest_one() -> None:
    logits = np.random.default_rng(2).normal(size=(20, CLASSES), scale=3)

    found = Known(outputs(logits), [0] * 20).logits

    np.testing.assert_allclose(found, logits, atol=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_share_of_false_alarms_is_that_which_was_asked_for(share: float) -> None:
    fitted = calibration.fit(known(1.0), share)

    assert (calibration.largest_logits(known(1.0).outputs) < fitted["min_logit"]).mean() == pytest.approx(
        share, abs=0.002
    )
    assert calibration.measure(fitted, known(1.0, seed=1)).false_alarms == pytest.approx(share, abs=0.02)


def test_others_with_flat_logits_are_found() -> None:
    fitted = calibration.fit(known(1.0), 0.05)
    flat = outputs(np.random.default_rng(3).normal(size=(500, CLASSES), scale=0.1))

    rates = calibration.measure(fitted, known(1.0, seed=1), flat)

    inside, outside = calibration.largest_logits(known(1.0, seed=1).outputs), calibration.largest_logits(flat)
    pairs = outside[:, None] - inside[None]
    assert rates.auroc == pytest.approx(((pairs < 0) + 0.5 * (pairs == 0)).mean())
    assert rates.found == (outside < fitted["min_logit"]).mean()
    assert rates.others == 500


def test_rates_without_others_are_left_out_of_the_card() -> None:
    document = calibration.measure({"temperature": 1.0, "min_logit": 0.0}, known(1.0)).document()

    assert set(document) == {"images", "ece_before", "ece_after", "false_alarms", "others"}
