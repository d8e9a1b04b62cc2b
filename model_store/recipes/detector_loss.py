"""The loss of Mask R-CNN: matching, sampling, and the terms of the RPN, the box heads and the mask head.

Faster R-CNN, arXiv 1506.01497, section 3.1.2 and 3.1.3; Mask R-CNN, arXiv 1703.06870, sections 3 and 3.1; Cascade
R-CNN, arXiv 1712.00726, section 4. An image has few animals, so there are fewer regions than published, and some of
them are made from the true boxes. Boxes learn by their generalised IoU (arXiv 1902.09630), which is nearer to average
precision than the distance of deltas is.

Convolutions and linear layers run in bfloat16 where the device has it, and all that is about coordinates in float32.
"""

from typing import NamedTuple, cast

import torch
from scenes import CLASSES
from torch import Tensor
from torch.nn import functional

from service.engines.training.optimisation import bfloat16
from service.networks.detection import anchors, boxes
from service.networks.detection.detector import Detector
from service.networks.detection.heads import BOX_BINS, MASK_BINS, MaskHead
from service.networks.detection.proposals import RPN_WEIGHTS, propose
from service.networks.detection.roi_align import Pyramid, pyramid, roi_align
from service.networks.detection.trunk import TrunkOutput

RPN_SAMPLES, RPN_POSITIVE = 256, 0.5
RPN_IOU = (0.3, 0.7)  # below it is background, above it an object, and between it is not sampled
REGION_SAMPLES, REGION_POSITIVE = 96, 0.5
STAGE_IOU = (0.5, 0.6, 0.7)  # From it a region of each stage is positive.
STAGE_SHARE = (1.0, 0.5, 0.25)  # Of each stage's terms, as published.
BOX_FACTOR = 5.0  # Of the terms of the boxes.
MASK_SAMPLES = 16  # Of the positive boxes of an image.
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
    with bfloat16(stages[0].device.type):
        levels = trunk.fpn(stages)
        hidden = [trunk.rpn.conv(level) for level in levels]
        objectness, shifts = ([answer(each) for each in hidden] for answer in (trunk.rpn.objectness, trunk.rpn.deltas))
    count = len(stages[0])
    logits = torch.cat([each.float().permute(0, 2, 3, 1).reshape(count, -1) for each in objectness], dim=1)
    deltas = torch.cat([each.float().permute(0, 2, 3, 1).reshape(count, -1, 4) for each in shifts], dim=1)
    maps = [level.float().split(1) for level in levels[:4]]
    return [TrunkOutput(*(each[i] for each in maps), logits[i], deltas[i]) for i in range(count)]  # type: ignore[call-arg]


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
    """Return the loss of the scores and the boxes of all stages, and of the masks, of one image.

    The boxes of a stage are the regions of the next one. Masks are learned inside the boxes of the last stage.
    """
    maps = pyramid(found[:4], anchors.STRIDES[:4])
    stages = stages_terms(network, maps, sample_regions(network, found, truth, size), truth, size)
    scores = torch.stack([share * each.scores for share, each in zip(STAGE_SHARE, stages, strict=False)]).sum()
    shapes = torch.stack([share * each.boxes for share, each in zip(STAGE_SHARE, stages, strict=False)]).sum()
    masks = mask_term(network, maps, Regions(stages[-1].found, truth))
    return {"scores": scores, "boxes": BOX_FACTOR * shapes, "masks": masks}


class Regions:
    """Regions `(n, 4)` of an image, and for each the index of the instance that it overlaps most."""

    def __init__(self, regions: Tensor, truth: Truth) -> None:
        self.boxes = regions
        self.truth = truth
        if len(truth.boxes):
            self.overlap, self.matched = boxes.iou(regions, truth.boxes).max(dim=1)
        else:
            self.overlap = regions.new_zeros(len(regions))
            self.matched = self.overlap.long()

    def labels(self, overlap: float) -> Tensor:
        """Return the class ids `(n,)`: background below this `overlap` with an instance."""
        if not len(self.truth.boxes):
            return torch.full_like(self.matched, BACKGROUND)
        return torch.where(self.overlap >= overlap, self.truth.class_ids[self.matched], BACKGROUND)


class StageTerms(NamedTuple):
    """The loss of the scores and of the boxes of one stage, and its boxes `(n, 4)` inside the image, as numbers."""

    scores: Tensor
    boxes: Tensor
    found: Tensor


def stages_terms(
    network: Detector, maps: Pyramid, regions: Tensor, truth: Truth, size: tuple[int, int]
) -> list[StageTerms]:
    """Return the terms of each stage, of which the first gets the regions `(n, 4)` and the others boxes."""
    stages: list[StageTerms] = []
    for stage in range(len(network.box_heads)):
        stages.append(stage_terms(network, stage, maps, Regions(regions, truth), size))
        regions = stages[-1].found
    return stages


def stage_terms(network: Detector, stage: int, maps: Pyramid, regions: Regions, size: tuple[int, int]) -> StageTerms:
    """Return the loss of what one box head answers for the regions."""
    rules, labels = network.spec.rules, regions.labels(STAGE_IOU[stage])
    features = roi_align(maps, regions.boxes, BOX_BINS, epsilon=rules.level_epsilon)
    with bfloat16(features.device.type):
        scores, deltas = (each.float() for each in network.box_heads[stage](features))
    each_class = deltas.view(len(labels), deltas.shape[1] // 4, 4)
    own = labels.clamp(max=each_class.shape[1] - 1)
    chosen = each_class[torch.arange(len(labels), device=labels.device), own]
    decoded = boxes.decode(
        regions.boxes, chosen[:, None], rules.stage_weights[stage], clamp_shrinking=rules.clamp_shrinking
    )[:, 0]
    positive = (labels < BACKGROUND).nonzero().squeeze(1)
    lost = deltas.sum() * 0.0
    if len(positive):
        wanted = regions.truth.boxes[regions.matched[positive]]
        lost = (1 - generalised_iou(decoded[positive], wanted)).sum() / len(labels)
    inside = boxes.clip(decoded.detach(), *size)
    return StageTerms(functional.cross_entropy(scores, labels), lost, inside[boxes.not_empty(inside)])


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised IoU `(n,)` of each box of `(n, 4)` with the one in the same row, from -1 to 1.

    It is the IoU, less the share of the smallest box around both that neither covers (arXiv 1902.09630, algorithm 1).
    """
    inner = torch.cat([torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])], dim=1)
    outer = torch.cat([torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])], dim=1)
    shared = (inner[:, 2:] - inner[:, :2]).clamp(min=0).prod(dim=1)
    union, around = boxes.area(first) + boxes.area(second) - shared, boxes.area(outer)
    return shared / union - (around - union) / around


def mask_term(network: Detector, maps: Pyramid, found: Regions) -> Tensor:
    """Return the loss of the masks inside the boxes that overlap an instance."""
    labels = found.labels(STAGE_IOU[0])
    positive = (labels < BACKGROUND).nonzero().squeeze(1)[:MASK_SAMPLES]
    if not len(positive):
        return maps.table.sum() * 0.0
    chosen, own = found.boxes[positive], labels[positive]
    features = roi_align(maps, chosen, MASK_BINS, epsilon=network.spec.rules.level_epsilon)
    with bfloat16(features.device.type):
        every = mask_logits(cast("MaskHead", network.mask_heads[0]), features).float()
    logits = every[torch.arange(len(own), device=own.device), own]
    targets = mask_targets(found.truth.masks, chosen, found.matched[positive])
    return functional.binary_cross_entropy_with_logits(logits, targets)


def mask_logits(head: MaskHead, features: Tensor) -> Tensor:
    """Return what the head answers for features `(n, c, 14, 14)`: `(n, classes, 28, 28)`.

    The transposed convolution is a product of matrices here. PyTorch takes 0.4 s for its gradient, half of a step (AMD
    EPYC, 2 cores, bfloat16).
    """
    x = head.convs(features)
    doubled = torch.einsum("nchw,coij->nohiwj", x, head.upsample.weight).reshape(len(x), -1, MASK_SIDE, MASK_SIDE)
    logits: Tensor = head.logits(functional.relu(doubled + cast("Tensor", head.upsample.bias).view(-1, 1, 1)))
    return logits


@torch.no_grad()
def sample_regions(network: Detector, found: TrunkOutput, truth: Truth, size: tuple[int, int]) -> Tensor:
    """Return regions `(n, 4)` of the first stage, the positive ones first."""
    proposals = propose(found, size, network.spec.rules, PROPOSALS, PROPOSALS_BEFORE)
    candidates = Regions(torch.cat([proposals, truth.boxes, varied(truth.boxes, size)]), truth)
    labels = candidates.labels(STAGE_IOU[0])
    chosen = sample(labels < BACKGROUND, labels == BACKGROUND, REGION_SAMPLES, REGION_POSITIVE)
    return candidates.boxes[torch.cat(chosen)]


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
