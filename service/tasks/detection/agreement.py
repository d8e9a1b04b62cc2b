"""How far two versions of a detector agree on an image."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from service.models.cards import ModelCard
from service.tasks.base import same_labels
from service.tasks.detection.coco.overlaps import box_overlaps
from service.tasks.frame import Array

SHOWN: Final = 0.5  # the score from which detections are compared: the default of `min_score`
MATCHED: Final = 0.5  # the intersection over union from which two boxes are of one object


def agreement(card: ModelCard, ours: Mapping[str, Array], other: ModelCard, theirs: Mapping[str, Array]) -> float:
    """Return 2 * matched / (our detections + theirs), and 1 if neither has any.

    A detection of ours matches the one of theirs with the same label whose boxes overlap most, best scores first.
    """
    first, second = ours["scores"] >= SHOWN, theirs["scores"] >= SHOWN
    total = int(first.sum() + second.sum())
    if not total:
        return 1.0
    one, two = (each["boxes"][shown].astype(np.float64) for each, shown in ((ours, first), (theirs, second)))
    overlaps = box_overlaps(one, two, np.zeros(len(two), bool))
    labels = same_labels(card, other)[theirs["class_ids"][second].astype(np.int64)]
    overlaps[ours["class_ids"][first].astype(np.int64)[:, None] != labels[None, :]] = 0
    matched = 0
    for row in overlaps:
        if len(row) and row.max() >= MATCHED:
            matched += 1
            overlaps[:, int(row.argmax())] = 0
    return 2 * matched / total
