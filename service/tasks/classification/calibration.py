"""Fits the calibration of a classifier, and measures what it is worth on images that did not fit it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.tasks.classification.checks import DOMAIN_SCORE, MAX_LOGIT
from service.tasks.classification.scoring import ClassificationOutcome, scores
from service.tasks.scoring_base import PipelineOutput

LEAST_BETA, MOST_BETA = 0.05, 20.0  # of the inverse temperature
STEPS: Final = 60  # of the bisection: the temperature is then exact to float64
SMALLEST: Final = float(np.finfo(np.float32).tiny)  # a probability that was rounded to 0
DIGITS: Final = 4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """Images of the model's classes: the outputs with temperature 1, and the class id of each."""

    outputs: Sequence[PipelineOutput]
    truth: Sequence[int]

    @property
    def logits(self) -> Floats:
        """The logits (n, classes): the logarithms of the scores, shifted to the largest logit that was sent."""
        rows = np.stack([each.arrays["scores"] for each in self.outputs]).astype(np.float64)
        shifted = np.log(rows.clip(SMALLEST))
        logits: Floats = shifted - shifted.max(axis=1, keepdims=True) + largest_logits(self.outputs)[:, None]
        return logits


@dataclass(frozen=True)
class Fitted:
    """The temperature, and the least domain score or, without one, the least largest logit of a known image."""

    temperature: float
    least: float


@dataclass(frozen=True)
class Rates:
    """What a calibration does to images that did not fit it, as shares of 1.

    `ece` is the expected calibration error in 15 bins, before and after. `false_alarms` is the share of `images` of the
    model's classes that are called unknown, and `found` the share of the `others` that are. `auroc` is the probability
    that an image of something else has the smaller sign. `auroc_of_max_logit` is that of the largest logit, where the
    sign is the domain score. The last three are None without others.
    """

    images: int
    ece_before: float
    ece_after: float
    false_alarms: float
    others: int = 0
    found: float | None = None
    auroc: float | None = None
    auroc_of_max_logit: float | None = None

    def document(self) -> dict[str, Any]:
        """Return the rates that are there, rounded, as the card has them."""
        return {
            name: round(value, DIGITS) if isinstance(value, float) else value
            for name, value in vars(self).items()
            if value is not None
        }


def largest_logits(outputs: Sequence[PipelineOutput]) -> Floats:
    """Return the largest logit of each output (n,)."""
    return np.array([float(each.arrays[MAX_LOGIT][0]) for each in outputs])


def signs(outputs: Sequence[PipelineOutput]) -> Floats:
    """Return the sign of each output (n,) that is small for unknown images: domain score or largest logit."""
    name = DOMAIN_SCORE if all(DOMAIN_SCORE in each.arrays for each in outputs) else MAX_LOGIT
    return np.array([float(each.arrays[name][0]) for each in outputs])


def least_sign(known: Floats, false_alarms: float) -> float:
    """Return the value below which the share `false_alarms` of the signs of known images (n,) is."""
    return round(float(np.quantile(known, false_alarms, method="lower")), DIGITS)


def fit(known: Known, false_alarms: float) -> Fitted:
    """Return the calibration.

    The temperature has the highest likelihood of the true classes, and is 1 where it would not reduce the calibration
    error of these images. The share `false_alarms` of these images has a sign below the least one.
    """
    temperature = round(_temperature(known.logits, np.array(known.truth)), DIGITS)
    if calibration_error(known, temperature) >= calibration_error(known, 1.0):
        temperature = 1.0
    return Fitted(temperature, least_sign(signs(known.outputs), false_alarms))


def measure(fitted: Fitted, known: Known, others: Sequence[PipelineOutput] = ()) -> Rates:
    """Return the rates of a calibration on images of the model's classes and on others."""
    inside, outside = signs(known.outputs), signs(others)
    largest = None
    if len(others) and DOMAIN_SCORE in others[0].arrays:
        largest = auroc(largest_logits(known.outputs), largest_logits(others))
    return Rates(
        images=len(known.truth),
        ece_before=calibration_error(known, 1.0),
        ece_after=calibration_error(known, fitted.temperature),
        false_alarms=float((inside < fitted.least).mean()),
        others=len(others),
        found=float((outside < fitted.least).mean()) if len(others) else None,
        auroc=auroc(inside, outside) if len(others) else None,
        auroc_of_max_logit=largest,
    )


def calibration_error(known: Known, temperature: float) -> float:
    """Return the expected calibration error of the scores with a temperature, as `evaluate` counts it."""
    probabilities = _softmax(known.logits / temperature)
    best = probabilities.argmax(axis=1)
    outcomes = [
        ClassificationOutcome("", true, (int(first),), float(row[first]))
        for true, first, row in zip(known.truth, best, probabilities, strict=True)
    ]
    return scores([str(index) for index in range(probabilities.shape[1])], outcomes).calibration_error


def _temperature(logits: Floats, truth: npt.NDArray[np.int64]) -> float:
    """Return the temperature of the lowest cross entropy, which is convex in its inverse."""
    low, high = LEAST_BETA, MOST_BETA
    right = logits[np.arange(len(truth)), truth]
    for _ in range(STEPS):
        beta = (low + high) / 2
        slope = float(((_softmax(beta * logits) * logits).sum(axis=1) - right).mean())
        low, high = (beta, high) if slope < 0 else (low, beta)
    return 1 / high


def _softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def auroc(inside: Floats, outside: Floats) -> float:
    """Return the share of pairs in which the outside one is lower; equal ones count half (Mann and Whitney)."""
    ordered = np.sort(inside)
    below = np.searchsorted(ordered, outside, side="left") + np.searchsorted(ordered, outside, side="right")
    return float(1 - below.mean() / (2 * len(inside)))
