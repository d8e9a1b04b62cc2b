"""Whether an image is of the things that a classifier was trained on, as far as its calibration tells."""

from collections.abc import Mapping
from typing import Any, Final

from service.models.calibration import Calibration
from service.models.cards import ModelCard
from service.tasks.classification.checks import DOMAIN_SCORE, MAX_LOGIT
from service.tasks.frame import Array

WARNING: Final = "out_of_domain"


def members(card: ModelCard, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return `unknown` for a calibrated model, and a warning where it is true. Empty for a model without calibration.

    A worker that has not loaded the calibration yet sends no sign of an unknown image, and nothing is said of its
    images either.
    """
    if card.calibration is None:
        return {}
    sign, least = sign_of(card.calibration)
    if sign not in arrays:
        return {}
    unknown = bool(arrays[sign][0] < least)
    return {"unknown": unknown, "warnings": [WARNING] if unknown else []}


def sign_of(calibration: Calibration) -> tuple[str, float]:
    """Return the output that is below the least value for an unknown image, and that value."""
    if calibration.domain is not None:
        return DOMAIN_SCORE, calibration.domain.min_score
    return MAX_LOGIT, calibration.min_logit or 0.0
