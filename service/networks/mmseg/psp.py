"""The pyramid scene parsing head (arXiv 1612.01105, section 3.2), as MMSegmentation has it."""

import torch
from torch import Tensor, nn

from service.networks.mmseg.layers import Convolution, Head, resized

BINS = (1, 2, 3, 6)  # each level's pooled map has so many rows and columns


class PSPHead(Head):
    """The map beside its means over ever smaller regions, a 3x3 convolution, the classifier.

    `(n, c, h, w)` becomes `(n, classes, h, w)`; `inner` is the width between, a quarter of `channels` in the published
    networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(inner, classes)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), Convolution(channels, inner, 1)) for bins in BINS
        )
        self.bottleneck = Convolution(channels + len(BINS) * inner, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the map's own resolution."""
        levels = [resized(level(x), x) for level in self.psp_modules]  # each (n, inner, h, w)
        return self.classify(self.bottleneck(torch.cat([x, *levels], dim=1)))
