"""What runs once over the whole image: backbone, feature pyramid and region proposal network.

FPN: arXiv 1612.03144, section 3. The RPN: Faster R-CNN, arXiv 1506.01497, section 3.1.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.networks.bottleneck import EXPANSION
from service.networks.detection.anchors import RATIOS
from service.networks.detection.layers import ConvNorm
from service.networks.resnet import STAGE_PLANES, ResNet


class TrunkOutput(NamedTuple):
    """The maps P2 to P5 `(1, c, h, w)`, and for the anchors of P2 to P6 the logits `(a,)` and the deltas `(a, 4)`.

    The anchors are ordered by level, row, column and ratio, as `anchors.level_anchors` returns them.
    """

    p2: Tensor
    p3: Tensor
    p4: Tensor
    p5: Tensor
    objectness: Tensor
    deltas: Tensor


class FPN(nn.Module):
    """The feature pyramid: lateral 1x1 convolutions, a path from coarse to fine that adds, and 3x3 convolutions."""

    def __init__(self, channels: int, *, norm: bool) -> None:
        super().__init__()
        inputs = [planes * EXPANSION for planes in STAGE_PLANES]
        self.lateral = nn.ModuleList(ConvNorm(each, channels, 1, norm=norm, relu=False) for each in inputs)
        self.output = nn.ModuleList(ConvNorm(channels, channels, 3, norm=norm, relu=False) for _ in inputs)

    def forward(self, maps: tuple[Tensor, ...]) -> list[Tensor]:
        """Map the four stages' maps to P2 to P6. P6 is every second pixel of P5."""
        merged = [lateral(each) for lateral, each in zip(self.lateral, maps, strict=True)]
        for level in reversed(range(len(merged) - 1)):
            coarse = functional.interpolate(merged[level + 1], scale_factor=2.0, mode="nearest")
            merged[level] = merged[level] + coarse
        pyramid: list[Tensor] = [output(each) for output, each in zip(self.output, merged, strict=True)]
        return [*pyramid, functional.max_pool2d(pyramid[-1], kernel_size=1, stride=2)]


class RPN(nn.Module):
    """The region proposal network, whose weights all levels share: an objectness logit and four deltas an anchor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, 3, norm=False, relu=True)
        self.objectness = nn.Conv2d(channels, len(RATIOS), 1)
        self.deltas = nn.Conv2d(channels, 4 * len(RATIOS), 1)

    def forward(self, pyramid: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map P2 to P6 of one image to logits `(a,)` and deltas `(a, 4)` of all anchors."""
        hidden = [self.conv(level) for level in pyramid]
        logits = [self.objectness(each).permute(0, 2, 3, 1).reshape(-1) for each in hidden]
        deltas = [self.deltas(each).permute(0, 2, 3, 1).reshape(-1, 4) for each in hidden]
        return torch.cat(logits), torch.cat(deltas)


class Trunk(nn.Module):
    """Backbone, pyramid and RPN. It takes one image, so that no other image changes its result."""

    def __init__(self, backbone: ResNet, channels: int, *, norm: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.fpn = FPN(channels, norm=norm)
        self.rpn = RPN(channels)

    def forward(self, image: Tensor) -> TrunkOutput:
        """Map a normalised image `(1, 3, h, w)`, whose sides are multiples of 32, to maps, logits and deltas."""
        p2, p3, p4, p5, p6 = self.fpn(self.backbone.stages(image))
        objectness, deltas = self.rpn([p2, p3, p4, p5, p6])
        return TrunkOutput(p2, p3, p4, p5, objectness, deltas)
