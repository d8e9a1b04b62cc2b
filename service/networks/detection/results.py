"""From class probabilities and boxes of the proposals to detections (Fast R-CNN, arXiv 1504.08083, section 2.3)."""

from typing import NamedTuple

import torch
from torch import Tensor

from service.networks.detection import boxes as geometry
from service.networks.detection.nms import nms

MIN_SCORE = 0.05
IOU = 0.5
MAX_DETECTIONS = 100


class Detections(NamedTuple):
    """Boxes `(n, 4)`, scores `(n,)` and class ids `(n,)`, best first."""

    boxes: Tensor
    scores: Tensor
    class_ids: Tensor


def select(boxes: Tensor, probabilities: Tensor) -> Detections:
    """Return at most `MAX_DETECTIONS` detections of n proposals.

    `boxes` are `(n, k, 4)` and `probabilities` `(n, classes + 1)`. k is the number of classes, or 1 where all classes
    share a box. Background, the last column, is no detection. A proposal may be detected as several classes. Boxes
    suppress each other within a class.
    """
    finite = boxes.isfinite().all(dim=2).all(dim=1) & probabilities.isfinite().all(dim=1)
    boxes, probabilities = boxes[finite], probabilities[finite]
    found: list[Detections] = []
    for class_id in range(probabilities.shape[1] - 1):
        scores = probabilities[:, class_id]
        likely = (scores > MIN_SCORE).nonzero().squeeze(1)
        if len(likely) == 0:
            continue
        own = boxes[likely, class_id if boxes.shape[1] > 1 else 0]
        kept = nms(own, scores[likely], IOU)
        ids = torch.full((len(kept),), class_id, device=boxes.device)
        found.append(Detections(own[kept], scores[likely][kept], ids))
    if not found:
        none = boxes.new_zeros(0)
        return Detections(boxes.new_zeros(0, 4), none, none.long())
    joined = Detections(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    best = joined.scores.argsort(descending=True, stable=True)[:MAX_DETECTIONS]
    return Detections(*(each[best] for each in joined))


def scale_to_upload(found: Detections, scale: tuple[float, float], size: tuple[int, int]) -> tuple[Detections, Tensor]:
    """Return the detections scaled across and down, clipped to `size` (height, width), and the indices of those left.

    A box without an area after that is dropped.
    """
    across, down = scale
    scaled = geometry.clip(found.boxes * found.boxes.new_tensor([across, down, across, down]), *size)
    left = geometry.not_empty(scaled).nonzero().squeeze(1)
    return Detections(scaled[left], found.scores[left], found.class_ids[left]), left
