"""How much boxes and masks overlap: intersection over union or, for a crowd, over the detection's area."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.tasks.base import Arrays
from service.tasks.detection.coco.cropped_masks import CroppedMask

Floats = npt.NDArray[np.float64]


def box_overlaps(boxes: Floats, true: Floats, crowd: npt.NDArray[np.bool_]) -> Floats:
    """Return the overlaps `(d, g)` of boxes `(d, 4)` and `(g, 4)`, over the detection's area where `crowd` is set."""
    left_top = np.maximum(boxes[:, None, :2], true[None, :, :2])
    right_bottom = np.minimum(boxes[:, None, 2:], true[None, :, 2:])
    shared = (right_bottom - left_top).clip(min=0).prod(axis=2)
    area, true_area = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, true))
    whole = np.where(crowd, area[:, None], area[:, None] + true_area - shared)
    overlaps: Floats = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return overlaps


def mask_overlaps(
    masks: Sequence[CroppedMask],
    true: Sequence[CroppedMask],
    crowd: npt.NDArray[np.bool_],
    same: npt.NDArray[np.bool_],
) -> Floats:
    """Return the overlaps `(d, g)` of masks, 0 where `same` is not set."""
    areas, true_areas = ([each.area for each in every] for every in (masks, true))
    overlaps = np.zeros(same.shape)
    for d, g in zip(*np.nonzero(same), strict=True):
        shared = masks[d].intersection(true[g])
        whole = areas[d] if crowd[g] else areas[d] + true_areas[g] - shared
        overlaps[d, g] = shared / whole if whole else 0.0
    return overlaps


def nearest_box(mine: Arrays, theirs: Arrays) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return for each of my boxes the index of their box of its class that it overlaps most, and that overlap."""
    count = len(mine["boxes"])
    if not len(theirs["boxes"]):
        return np.zeros(count, np.int64), np.zeros(count)
    boxes, others = (each["boxes"].astype(np.float64) for each in (mine, theirs))
    overlaps = box_overlaps(boxes, others, np.zeros(len(others), bool))
    overlaps = np.where(mine["class_ids"][:, None] == theirs["class_ids"], overlaps, 0.0)
    nearest = overlaps.argmax(axis=1)
    return nearest, overlaps[np.arange(count), nearest]
