"""The calibration of made-up logits whose truth is known, against its definitions."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.tasks.classification import calibration
from service.tasks.classification.calibration import Fitted, Known
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

    assert fitted.temperature == pytest.approx(sharpness, rel=0.05)
    assert rates.ece_after < 0.025
    assert rates.ece_before > 0.08


def test_scores_that_are_right_keep_their_temperature_or_gain_by_another() -> None:
    given = known(1.0)

    fitted = calibration.fit(given, 0.05)

    assert fitted.temperature == pytest.approx(1, abs=0.05)
    assert calibration.calibration_error(given, fitted.temperature) <= calibration.calibration_error(given, 1.0)


def test_the_logits_are_found_from_scores_and_the_largest_one() -> None:
    logits = np.random.default_rng(2).normal(size=(20, CLASSES), scale=3)

    found = Known(outputs(logits), [0] * 20).logits

    np.testing.assert_allclose(found, logits, atol=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_share_of_false_alarms_is_that_which_was_asked_for(share: float) -> None:
    fitted = calibration.fit(known(1.0), share)

    assert (calibration.largest_logits(known(1.0).outputs) < fitted.least).mean() == pytest.approx(share, abs=0.002)
    assert calibration.measure(fitted, known(1.0, seed=1)).false_alarms == pytest.approx(share, abs=0.02)


def test_others_with_flat_logits_are_found() -> None:
    fitted = calibration.fit(known(1.0), 0.05)
    flat = outputs(np.random.default_rng(3).normal(size=(500, CLASSES), scale=0.1))

    rates = calibration.measure(fitted, known(1.0, seed=1), flat)

    inside, outside = calibration.largest_logits(known(1.0, seed=1).outputs), calibration.largest_logits(flat)
    pairs = outside[:, None] - inside[None]
    assert rates.auroc == pytest.approx(((pairs < 0) + 0.5 * (pairs == 0)).mean())
    assert rates.found == (outside < fitted.least).mean()
    assert rates.others == 500


def test_rates_without_others_are_left_out_of_the_card() -> None:
    document = calibration.measure(Fitted(1.0, 0.0), known(1.0)).document()

    assert set(document) == {"images", "ece_before", "ece_after", "false_alarms", "others"}


def test_the_domain_score_is_the_sign_where_there_is_one() -> None:
    """The others' scores are below those of known images, and their largest logits are not."""
    inside, outside = known(1.0), outputs(np.random.default_rng(4).normal(size=(500, CLASSES), scale=2))
    random = np.random.default_rng(6)

    def scored(found: list[PipelineOutput], mean: float) -> list[PipelineOutput]:
        draws = random.normal(mean, 1, (len(found), 1)).astype(np.float32)
        return [
            PipelineOutput({**each.arrays, "domain_score": score}, 9, 9)
            for each, score in zip(found, draws, strict=True)
        ]

    both = Known(scored(list(inside.outputs), 2.0), inside.truth), scored(outside, -2.0)
    fitted = calibration.fit(both[0], 0.05)
    rates = calibration.measure(fitted, *both)

    assert fitted.temperature == calibration.fit(inside, 0.05).temperature
    assert rates.false_alarms == pytest.approx(0.05, abs=0.001)
    assert rates.auroc == pytest.approx(0.998, abs=0.002)  # of two normal distributions, four deviations apart
    assert rates.auroc_of_max_logit == pytest.approx(0.5, abs=0.05)
    assert rates.document()["auroc_of_max_logit"] < 0.6
