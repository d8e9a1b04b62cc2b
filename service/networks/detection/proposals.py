"""Region proposals: the best anchors, decoded, without near duplicates (arXiv 1506.01497, section 3.3)."""

import torch
from torch import Tensor

from service.networks.detection import anchors, boxes
from service.networks.detection.boxes import Weights
from service.networks.detection.nms import nms
from service.networks.detection.spec import Rules
from service.networks.detection.trunk import TrunkOutput

RPN_WEIGHTS: Weights = (1, 1, 1, 1)
MAX_PROPOSALS = 1000  # the published number, of each level before suppression and of all levels after it
IOU = 0.7
ANCHORS_OF_PROPOSAL = 4  # anchors of a level that compete for each proposal, if proposals are few


def propose(
    found: TrunkOutput,
    size: tuple[int, int],
    rules: Rules,
    most: int = MAX_PROPOSALS,
    of_level: int | None = None,
) -> Tensor:
    """Return at most `most` proposals `(n, 4)` in pixels of the network's input, the likeliest object first.

    `size` is height and width of the image without padding, to which they are clipped. `of_level` is the number of
    each level's best anchors that suppression sees, by default the published 1000 or, for few proposals, less.
    """
    of_level = of_level or min(MAX_PROPOSALS, ANCHORS_OF_PROPOSAL * most)
    kept_boxes, kept_scores, start = [], [], 0
    for rows, columns, stride in _levels(found):
        cells = anchors.level_anchors(rows, columns, stride, found.objectness.device)
        logits, deltas = (each[start : start + len(cells)].float() for each in (found.objectness, found.deltas))
        start += len(cells)
        order = logits.argsort(descending=True, stable=True)[:of_level]
        decoded = boxes.decode(
            cells[order], deltas[order, None], RPN_WEIGHTS, clamp_shrinking=rules.clamp_shrinking
        ).squeeze(1)
        clipped = boxes.clip(decoded, *size)
        valid = boxes.not_empty(clipped) & logits[order].isfinite() & clipped.isfinite().all(dim=1)
        clipped, scores = clipped[valid], logits[order][valid]
        kept = nms(clipped, scores, IOU)
        kept_boxes.append(clipped[kept])
        kept_scores.append(scores[kept])
    best = torch.cat(kept_scores).argsort(descending=True, stable=True)[:most]
    return torch.cat(kept_boxes)[best]


def _levels(found: TrunkOutput) -> list[tuple[int, int, int]]:
    """Return rows, columns and stride of P2 to P6. P6 has every second row and column of P5."""
    sizes = [each.shape[2:] for each in (found.p2, found.p3, found.p4, found.p5)]
    last = tuple(-(-side // 2) for side in sizes[-1])
    return [(rows, columns, stride) for (rows, columns), stride in zip([*sizes, last], anchors.STRIDES, strict=True)]
