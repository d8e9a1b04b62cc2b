"""The head of UPerNet (arXiv 1807.10221, section 3.1) as in MMSegmentation: a feature pyramid over PSPNet's pooling."""

import torch
from torch import Tensor, nn

from service.networks.mmseg.layers import ConvModule, resize_like
from service.networks.mmseg.psp import MmsegPSPHead


class MmsegUPerHead(MmsegPSPHead):
    """Pyramid pooling of the last stage, a top-down path to the first one, and a convolution over all four maps.

    `channels` is the width of the last stage; each stage before it has half. `inner` is as in `MmsegPSPHead`.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(channels, classes, inner)
        widths = (channels // 8, channels // 4, channels // 2)
        self.lateral_convs = nn.ModuleList(ConvModule(width, inner, 1) for width in widths)
        self.fpn_convs = nn.ModuleList(ConvModule(inner, inner) for _ in widths)
        self.fpn_bottleneck = ConvModule((1 + len(widths)) * inner, inner)

    def forward(self, *maps: Tensor) -> Tensor:
        """Map the four stages, finest first, each `(n, width, h/s, w/s)`, to `(n, classes, h/4, w/4)` logits."""
        *finer, last = maps
        top = self.pyramid(last)
        found = [top]
        for x, lateral, smooth in reversed(list(zip(finer, self.lateral_convs, self.fpn_convs, strict=True))):
            side = lateral(x)
            top = side + resize_like(top, side)
            found.insert(0, smooth(top))
        merged = torch.cat([found[0], *(resize_like(each, found[0]) for each in found[1:])], dim=1)
        return self.classify(self.fpn_bottleneck(merged))
