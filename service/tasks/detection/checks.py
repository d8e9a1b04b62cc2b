"""Checks of a worker's arrays, and what a card says about its outputs."""

from typing import Final

import numpy as np

from service.models.cards import ModelCard
from service.tasks.base import Arrays
from service.tasks.shared_image import InputImage

MAX_DETECTIONS: Final = 100  # that a model returns for an image
MASK_SIDE: Final = 28  # rows and columns of a mask inside its box
WITH_MASKS: Final = "mask_rcnn"  # in the name of a network


def has_masks(card: ModelCard) -> bool:
    """Return whether a model also returns masks."""
    return WITH_MASKS in card.network.name


def detections_fit(card: ModelCard, _image: InputImage, arrays: Arrays) -> bool:
    """Return whether there are as many boxes, scores and class ids and, from some models, masks, in valid ranges."""
    shapes = {"boxes": ("float32", (4,)), "scores": ("float32", ()), "class_ids": ("uint16", ())}
    if has_masks(card):
        shapes["masks"] = ("uint8", (MASK_SIDE, MASK_SIDE))
    if set(arrays) != set(shapes) or arrays["scores"].ndim != 1:
        return False
    count = len(arrays["scores"])
    forms = {name: (kind, (count, *rest)) for name, (kind, rest) in shapes.items()}
    if count > MAX_DETECTIONS or forms != {name: (each.dtype.name, each.shape) for name, each in arrays.items()}:
        return False
    boxes, scores = arrays["boxes"], arrays["scores"]
    inside = bool(((boxes >= -1e-4) & (boxes <= 1 + 1e-4)).all()) and bool((boxes[:, :2] <= boxes[:, 2:]).all())
    sorted_ = bool(((scores >= 0) & (scores <= 1 + 1e-4)).all()) and bool((np.diff(scores) <= 0).all())
    return inside and sorted_ and bool((arrays["class_ids"] < card.network.classes).all())
