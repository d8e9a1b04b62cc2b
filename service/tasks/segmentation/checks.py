"""Checks of a worker's arrays, one for each operation on a segmenter."""

import numpy as np

from service.models.cards import ModelCard
from service.tasks.base import Arrays, has_probabilities
from service.tasks.shared_image import InputImage


def mask_fits(card: ModelCard, image: InputImage, arrays: Arrays) -> bool:
    """Return whether there is a class for each pixel and a probability for each class."""
    if set(arrays) != {"mask", "class_scores"}:
        return False
    mask, scores = arrays["mask"], arrays["class_scores"]
    whole = mask.dtype == np.uint8 and mask.shape == image.shape[:2] and int(mask.max()) < card.network.classes
    return whole and has_probabilities(scores, card.network.classes)


def confidence_fits(card: ModelCard, image: InputImage, arrays: Arrays) -> bool:
    """Return whether there is also a confidence for each pixel."""
    rest = dict(arrays)
    confidence = rest.pop("confidence", None)
    if confidence is None or confidence.dtype != np.uint8 or confidence.shape != image.shape[:2]:
        return False
    return mask_fits(card, image, rest)
