"""The pyramid scene parsing head (arXiv 1612.01105, section 3.2) as in MMSegmentation."""

import torch
from torch import Tensor, nn

from service.networks.mmseg.layers import ConvModule, MmsegHead, resize_like

POOL_SCALES = (1, 2, 3, 6)  # rows and columns of the pooled map of each level


class MmsegPSPHead(MmsegHead):
    """Average pooling at four scales, concatenated with the input, a 3x3 convolution and the classifier.

    `inner` is the width between them, by default a quarter of `channels` as in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(inner, classes)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), ConvModule(channels, inner, 1)) for bins in POOL_SCALES
        )
        self.bottleneck = ConvModule(channels + len(POOL_SCALES) * inner, inner)

    def pyramid(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, inner, h, w)`."""
        levels = [resize_like(level(x), x) for level in self.psp_modules]  # each (n, inner, h, w)
        merged: Tensor = self.bottleneck(torch.cat([x, *levels], dim=1))
        return merged

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        return self.classify(self.pyramid(x))
