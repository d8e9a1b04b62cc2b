"""A whole detector, and the arithmetic between its networks, in single precision.

Three kinds of networks do the work: the trunk once, a box head for each stage, and mask heads. What lies between them
works on coordinates, which bfloat16 cannot hold. Engines may replace the networks by compiled ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from service.networks import resnest, resnet
from service.networks.detection import anchors, boxes, results
from service.networks.detection.heads import BOX_BINS, MASK_BINS, BoxHead, MaskHead
from service.networks.detection.proposals import MAX_PROPOSALS, propose
from service.networks.detection.results import Detections
from service.networks.detection.roi_align import Pyramid, pyramid, roi_align
from service.networks.detection.spec import DetectorSpec, Rules
from service.networks.detection.trunk import Trunk, TrunkOutput
from service.networks.resnet import ResNet

BoxNetwork = Callable[[Tensor], tuple[Tensor, Tensor]]
MaskNetwork = Callable[[Tensor], Tensor]


class ImageGeometry(NamedTuple):
    """Height and width in pixels of the network's input without padding, and of the upright upload."""

    size: tuple[int, int]
    upload: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Return the factors from input to upload, across and down."""
        return self.upload[1] / self.size[1], self.upload[0] / self.size[0]


class Networks(NamedTuple):
    """The networks of a detector: `trunk`, and in the order of the stages `box_heads` and `mask_heads`."""

    trunk: Callable[[Tensor], TrunkOutput]
    box_heads: Sequence[BoxNetwork]
    mask_heads: Sequence[MaskNetwork]


class Instances(NamedTuple):
    """Detections in pixels of the upload, and their masks: probabilities `(n, 28, 28)` inside each box, or None."""

    detections: Detections
    masks: Tensor | None


class Detector(nn.Module):
    """The reference network of a detector, with the names that `key_names` translates to."""

    def __init__(self, spec: DetectorSpec, classes: int) -> None:
        super().__init__()
        self.spec = spec
        architecture = {**resnet.ARCHITECTURES, **resnest.ARCHITECTURES}[spec.backbone]
        backbone = ResNet(architecture, 0, stride_first=spec.stride_first)
        self.trunk = Trunk(backbone, spec.channels, norm=spec.fpn_norm)
        self.box_heads = nn.ModuleList(
            BoxHead(
                spec.channels,
                classes,
                convolutions=spec.box_convolutions,
                layers=spec.box_layers,
                hidden=spec.hidden,
                per_class=spec.stages == 1,
            )
            for _ in range(spec.stages)
        )
        self.mask_heads = nn.ModuleList(
            MaskHead(spec.channels, classes, convolutions=spec.mask_convolutions, norm=spec.mask_norm)
            for _ in range(spec.masks)
        )

    def forward(self, image: Tensor, geometry: ImageGeometry, proposals: int = MAX_PROPOSALS) -> Instances:
        """Map a normalised image `(1, 3, h, w)`, padded to multiples of 32, to instances."""
        networks = Networks(self.trunk, list(self.box_heads), list(self.mask_heads))
        return detect(networks, self.spec.rules, image, geometry, proposals)


def detect(
    networks: Networks, rules: Rules, image: Tensor, geometry: ImageGeometry, proposals: int = MAX_PROPOSALS
) -> Instances:
    """Return the instances in an image `(1, 3, h, w)`, from at most `proposals` proposals."""
    found = networks.trunk(image)
    maps = pyramid(tuple(each.float() for each in found[:4]), anchors.STRIDES[:4])
    rois = propose(found, geometry.size, rules, proposals)
    decoded, probabilities = _classified(networks.box_heads, rules, maps, rois, geometry.size)
    if rules.scale_first:
        factors = _factors(decoded, geometry)
        chosen = results.select(decoded * factors, probabilities)
        inside = Detections(chosen.boxes / factors, chosen.scores, chosen.class_ids)
        return Instances(chosen, _masks(networks.mask_heads, rules, maps, inside))
    inside = results.select(decoded, probabilities)
    chosen, left = results.scale_to_upload(inside, geometry.scale, geometry.upload)
    inside = Detections(*(each[left] for each in inside))
    return Instances(chosen, _masks(networks.mask_heads, rules, maps, inside))


def _factors(like: Tensor, geometry: ImageGeometry) -> Tensor:
    across, down = geometry.scale
    return like.new_tensor([across, down, across, down])


def _classified(
    heads: Sequence[BoxNetwork], rules: Rules, maps: Pyramid, rois: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the last stage's boxes `(n, k, 4)` and the probabilities `(n, classes + 1)` of all stages together.

    The boxes of a stage of a cascade are the proposals of the next one (arXiv 1712.00726, section 4.1).
    """
    stages: list[Tensor] = []
    for head, weights in zip(heads, rules.stage_weights, strict=False):
        logits, deltas = head(roi_align(maps, rois, BOX_BINS, epsilon=rules.level_epsilon))
        stages.append(logits.float())
        own = deltas.float().view(len(rois), deltas.shape[1] // 4, 4)
        decoded = boxes.decode(rois, own, weights, clamp_shrinking=rules.clamp_shrinking)
        decoded = boxes.clip(decoded.flatten(0, 1), *size).view_as(decoded)
        if len(heads) > 1:
            rois = decoded[:, 0]
    if rules.average == "logits":
        return decoded, torch.stack(stages).mean(dim=0).softmax(dim=1)
    return decoded, torch.stack([each.softmax(dim=1) for each in stages]).mean(dim=0)


def _masks(heads: Sequence[MaskNetwork], rules: Rules, maps: Pyramid, found: Detections) -> Tensor | None:
    """Return the mean mask of the heads, `(n, 28, 28)` probabilities, of each detection's own class."""
    if not heads:
        return None
    rois = roi_align(maps, found.boxes, MASK_BINS, epsilon=rules.level_epsilon)
    each = torch.arange(len(found.class_ids), device=rois.device)
    masks = [head(rois).float()[each, found.class_ids].sigmoid() for head in heads]
    return torch.stack(masks).mean(dim=0)
