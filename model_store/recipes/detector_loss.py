"""The loss of Mask R-CNN: matching, sampling, and the terms of the RPN, the box head and the mask head.

Faster R-CNN, arXiv 1506.01497, section 3.1.2 and 3.1.3; Mask R-CNN, arXiv 1703.06870, sections 3 and 3.1. An image has
few animals, so there are fewer regions than published, and some of them are made from the true boxes.
"""

from typing import NamedTuple

import torch
from scenes import CLASSES
from torch import Tensor
from torch.nn import functional

from service.networks.detection import anchors, boxes
from service.networks.detection.detector import Detector
from service.networks.detection.heads import BOX_BINS, MASK_BINS
from service.networks.detection.proposals import RPN_WEIGHTS, propose
from service.networks.detection.roi_align import pyramid, roi_align
from service.networks.detection.trunk import TrunkOutput

RPN_SAMPLES, RPN_POSITIVE = 256, 0.5
RPN_IOU = (0.3, 0.7)  # below it is background, above it an object, and between it is not sampled
REGION_SAMPLES, REGION_POSITIVE = 160, 0.4
REGION_IOU = 0.5
MASK_SAMPLES = 8  # of the positive regions of an image
BACKGROUND = len(CLASSES)  # the class id of regions without an object
PROPOSALS, PROPOSALS_BEFORE = 100, 200  # after suppression, and of each level before it
MASK_SIDE = 2 * MASK_BINS
# Boxes like the true ones, of which about half overlap them by more than a half. They show the difference between an
# animal and a part of it. Proposals have few examples of that at first.

VARIED = 48  # of each instance
SHIFT, STRETCH = 0.25, 0.6  # largest shift, in sides, and largest logarithm of the change of a side


Maps = tuple[Tensor, ...]  # of the backbone's four stages


class Truth(NamedTuple):
    """Boxes `(n, 4)`, class ids `(n,)` and masks `(n, h, w)` of the instances of one image."""

    boxes: Tensor
    class_ids: Tensor
    masks: Tensor


def trunk_outputs(network: Detector, stages: Maps) -> list[TrunkOutput]:
    """Return the trunk's output for each image, computed together from the backbone's maps `(n, c, h, w)`."""
    trunk = network.trunk
    levels = trunk.fpn(stages)
    hidden = [trunk.rpn.conv(level) for level in levels]
    count = len(stages[0])
    logits = [trunk.rpn.objectness(each).permute(0, 2, 3, 1).reshape(count, -1) for each in hidden]
    deltas = [trunk.rpn.deltas(each).permute(0, 2, 3, 1).reshape(count, -1, 4) for each in hidden]
    objectness, shifts = torch.cat(logits, dim=1), torch.cat(deltas, dim=1)
    maps = [level.split(1) for level in levels[:4]]
    return [TrunkOutput(*(each[i] for each in maps), objectness[i], shifts[i]) for i in range(count)]  # type: ignore[call-arg]


def loss(network: Detector, stages: Maps, truths: list[Truth]) -> dict[str, Tensor]:
    """Return the five terms, each the mean over the images, from the backbone's maps `(n, c, h, w)` of its stages.

    The sides of the images are multiples of 32.
    """
    height, width = (side * anchors.STRIDES[0] for side in stages[0].shape[2:])
    cells = every_anchor(height, width, stages[0].device)
    terms: dict[str, list[Tensor]] = {}
    for found, truth in zip(trunk_outputs(network, stages), truths, strict=True):
        for name, value in (
            rpn_terms(found, cells, truth) | region_terms(network, found, truth, (height, width))
        ).items():
            terms.setdefault(name, []).append(value)
    return {name: torch.stack(values).mean() for name, values in terms.items()}


def every_anchor(height: int, width: int, device: torch.device) -> Tensor:
    """Return the anchors `(a, 4)` of all levels of an image, in the order of the trunk's output."""
    return torch.cat(
        [anchors.level_anchors(-(-height // each), -(-width // each), each, device) for each in anchors.STRIDES]
    )


def sample(positive: Tensor, negative: Tensor, count: int, share: float) -> tuple[Tensor, Tensor]:
    """Return indices of at most `share` of `count` random positives, and negatives for the rest of `count`."""
    chosen = positive.nonzero().squeeze(1)
    chosen = chosen[torch.randperm(len(chosen), device=chosen.device)[: int(count * share)]]
    others = negative.nonzero().squeeze(1)
    others = others[torch.randperm(len(others), device=others.device)[: count - len(chosen)]]
    return chosen, others


def rpn_terms(found: TrunkOutput, cells: Tensor, truth: Truth) -> dict[str, Tensor]:
    """Return the loss of the objectness and of the deltas of sampled anchors of one image.

    An anchor is positive if its IoU with an instance is high, or the highest that this instance has.
    """
    positive, negative, matched = match_anchors(cells, truth.boxes)
    chosen, others = sample(positive, negative, RPN_SAMPLES, RPN_POSITIVE)
    picked = torch.cat([chosen, others])
    target = (torch.arange(len(picked), device=picked.device) < len(chosen)).float()
    objectness = functional.binary_cross_entropy_with_logits(found.objectness[picked], target)
    deltas = found.deltas[chosen].sum() * 0.0
    if len(chosen):
        wanted = boxes.encode(cells[chosen], truth.boxes[matched[chosen]], RPN_WEIGHTS)
        deltas = functional.l1_loss(found.deltas[chosen], wanted, reduction="sum") / len(picked)
    return {"objectness": objectness, "anchors": deltas}


def match_anchors(cells: Tensor, instances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which anchors `(a,)` are positive and which negative, and the index of each one's instance."""
    if not len(instances):
        none = torch.zeros(len(cells), dtype=torch.bool, device=cells.device)
        return none, ~none, none.long()
    overlap = boxes.iou(cells, instances)
    best, matched = overlap.max(dim=1)
    positive = best >= RPN_IOU[1]
    highest = overlap.max(dim=0).values
    of_instance = (overlap >= highest - 1e-6) & (highest > 0)
    positive = positive | of_instance.any(dim=1)
    forced = of_instance.any(dim=1)
    matched = torch.where(forced, of_instance.float().argmax(dim=1), matched)
    return positive, (best < RPN_IOU[0]) & ~positive, matched


def region_terms(network: Detector, found: TrunkOutput, truth: Truth, size: tuple[int, int]) -> dict[str, Tensor]:
    """Return the loss of the scores, the boxes and the masks of sampled regions of one image."""
    regions, labels, matched = sample_regions(network, found, truth, size)
    maps = pyramid(found[:4], anchors.STRIDES[:4])
    rules = network.spec.rules
    scores, deltas = network.box_heads[0](roi_align(maps, regions, BOX_BINS, epsilon=rules.level_epsilon))
    terms = {"scores": functional.cross_entropy(scores, labels)}
    positive = (labels < BACKGROUND).nonzero().squeeze(1)
    chosen, own = regions[positive], labels[positive]
    wanted = boxes.encode(chosen, truth.boxes[matched[positive]], rules.stage_weights[0])
    predicted = deltas.view(len(regions), BACKGROUND, 4)[positive, own]
    terms["boxes"] = functional.l1_loss(predicted, wanted, reduction="sum") / len(regions)
    if not len(positive):
        return terms | {"masks": deltas.sum() * 0.0}
    positive, chosen, own = (each[:MASK_SAMPLES] for each in (positive, chosen, own))
    features = roi_align(maps, chosen, MASK_BINS, epsilon=rules.level_epsilon)
    logits = network.mask_heads[0](features)[torch.arange(len(own), device=own.device), own]
    targets = mask_targets(truth.masks, chosen, matched[positive])
    return terms | {"masks": functional.binary_cross_entropy_with_logits(logits, targets)}


@torch.no_grad()
def sample_regions(
    network: Detector, found: TrunkOutput, truth: Truth, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return regions `(n, 4)`, their class ids (background is last), and the index of each one's instance."""
    proposals = propose(found, size, network.spec.rules, PROPOSALS, PROPOSALS_BEFORE)
    candidates = torch.cat([proposals, truth.boxes, varied(truth.boxes, size)])
    if not len(truth.boxes):
        chosen = candidates[torch.randperm(len(candidates))[:REGION_SAMPLES]]
        labels = torch.full((len(chosen),), BACKGROUND, device=chosen.device)
        return chosen, labels, torch.zeros_like(labels)
    best, matched = boxes.iou(candidates, truth.boxes).max(dim=1)
    positive, negative = sample(best >= REGION_IOU, best < REGION_IOU, REGION_SAMPLES, REGION_POSITIVE)
    picked = torch.cat([positive, negative])
    labels = truth.class_ids[matched[picked]].clone()
    labels[len(positive) :] = BACKGROUND
    return candidates[picked], labels, matched[picked]


def varied(true: Tensor, size: tuple[int, int]) -> Tensor:
    """Return random boxes `(m, 4)` like the true ones `(n, 4)`, inside an image of `size` (height, width)."""
    repeated = true.repeat(VARIED, 1)
    limits = repeated.new_tensor([SHIFT, SHIFT, STRETCH, STRETCH])
    deltas = (2 * torch.rand_like(repeated) - 1) * limits
    made = boxes.decode(repeated, deltas[:, None], RPN_WEIGHTS, clamp_shrinking=False)[:, 0]
    clipped = boxes.clip(made, *size)
    return clipped[boxes.not_empty(clipped)]


def mask_targets(masks: Tensor, regions: Tensor, matched: Tensor) -> Tensor:
    """Return what the mask head shall answer for each region: `(n, 28, 28)`, 1 where its instance is, else 0.

    `masks` are `(instances, h, w)`. A value is that of the mask at the centre of its bin.
    """
    height, width = masks.shape[1:]
    centres = (torch.arange(MASK_SIDE, device=masks.device) + 0.5) / MASK_SIDE
    x = regions[:, 0, None] + centres * (regions[:, 2] - regions[:, 0])[:, None]
    y = regions[:, 1, None] + centres * (regions[:, 3] - regions[:, 1])[:, None]
    columns, rows = x.floor().long().clamp(0, width - 1), y.floor().long().clamp(0, height - 1)
    return masks[matched[:, None, None], rows[:, :, None], columns[:, None, :]].float()
