"""Checks of a worker's arrays, one for each operation on a classifier."""

from typing import Final

import numpy as np

from service.models.cards import ModelCard
from service.tasks.base import Arrays, has_probabilities
from service.tasks.frame import Array
from service.tasks.shared_image import InputImage

ATTENTION: Final = {"splits", "spread", "stage"}  # present for networks with Split-Attention blocks only
MAX_LOGIT: Final = "max_logit"  # present for calibrated models only
DOMAIN_SCORE: Final = "domain_score"  # present for models whose calibration has a domain score
SIGNS: Final = {MAX_LOGIT, DOMAIN_SCORE}


def scores_fit(card: ModelCard, _image: InputImage, arrays: Arrays) -> bool:
    """Return whether there is one probability for each class, and perhaps the signs of an unknown image."""
    return set(arrays) - SIGNS == {"scores"} and _are_scores(card, arrays)


def embedding_fits(_card: ModelCard, _image: InputImage, arrays: Arrays) -> bool:
    """Return whether there is one vector of finite numbers."""
    return set(arrays) == {"embedding"} and _is_finite(arrays["embedding"], 1)


def explanation_fits(card: ModelCard, _image: InputImage, arrays: Arrays) -> bool:
    """Return whether there are scores, maps and biases for each class, and attention weights or none at all."""
    if set(arrays) - SIGNS not in ({"scores", "maps", "bias"}, {"scores", "maps", "bias", *ATTENTION}):
        return False
    classes = card.network.classes
    maps = _is_finite(arrays["maps"], 3) and len(arrays["maps"]) == classes
    bias = _is_finite(arrays["bias"], 1) and len(arrays["bias"]) == classes
    attention = "stage" not in arrays or _attention_fits(arrays)
    return maps and bias and attention and _are_scores(card, arrays)


def _are_scores(card: ModelCard, arrays: Arrays) -> bool:
    signs = (arrays[name] for name in SIGNS & arrays.keys())
    return all(_is_finite(sign, 1) and len(sign) == 1 for sign in signs) and has_probabilities(
        arrays["scores"], card.network.classes
    )


def _attention_fits(arrays: Arrays) -> bool:
    splits, spread, stage = (arrays[name] for name in ("splits", "spread", "stage"))
    numbers = _is_finite(splits, 2) and _is_finite(spread, 2) and spread.shape == splits.shape
    return numbers and stage.dtype == np.uint8 and stage.shape == splits.shape[:1]


def _is_finite(array: Array, axes: int) -> bool:
    right = array.dtype == np.float32 and array.ndim == axes and array.size > 0
    return right and bool(np.isfinite(array).all())
