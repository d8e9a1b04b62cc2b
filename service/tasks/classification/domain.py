"""Whether an image is of the things that a classifier was trained on, as far as its calibration tells."""

from collections.abc import Mapping
from typing import Any, Final

from service.models.cards import ModelCard
from service.tasks.classification.checks import MAX_LOGIT
from service.tasks.frame import Array

WARNING: Final = "out_of_domain"


def members(card: ModelCard, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return `unknown` for a calibrated model, and a warning where it is true. Empty for a model without calibration.

    A worker that has not loaded the calibration yet sends no largest logit, and nothing is said of its images either.
    """
    if card.calibration is None or MAX_LOGIT not in arrays:
        return {}
    unknown = bool(arrays[MAX_LOGIT][0] < card.calibration.min_logit)
    return {"unknown": unknown, "warnings": [WARNING] if unknown else []}
