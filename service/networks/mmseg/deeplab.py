"""DeepLabV3 (arXiv 1706.05587, section 3.3) and DeepLabV3+ (arXiv 1802.02611, section 3) as in MMSegmentation."""

import torch
from torch import Tensor, nn

from service.networks.deeplab import ATROUS_RATES
from service.networks.mmseg.layers import ConvModule, DepthwiseSeparableConvModule, MmsegHead, resize_like

LOW_LEVEL_CHANNELS = 256  # of stage 1, whose map has a quarter of the image's sides
LOW_LEVEL_INNER = 48


class MmsegASPPHead(MmsegHead):
    """Base class with ASPP: five parallel branches, merged by a 3x3 convolution to `inner` channels."""

    def __init__(
        self, channels: int, classes: int, inner: int, atrous: type[ConvModule] | type[DepthwiseSeparableConvModule]
    ) -> None:
        super().__init__(inner, classes)
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvModule(channels, inner, 1))
        branches = [ConvModule(channels, inner, 1), *(atrous(channels, inner, rate=rate) for rate in ATROUS_RATES)]
        self.aspp_modules = nn.ModuleList(branches)
        self.bottleneck = ConvModule((1 + len(branches)) * inner, inner)

    def aspp(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, inner, h, w)`."""
        # Expanding equals bilinear upsampling of one value.
        pooled = self.image_pool(x).expand(-1, -1, x.shape[2], x.shape[3])
        merged: Tensor = self.bottleneck(torch.cat([pooled, *(branch(x) for branch in self.aspp_modules)], dim=1))
        return merged


class MmsegDeepLabV3Head(MmsegASPPHead):
    """ASPP and the classifier.

    `inner` is the width between them, by default a quarter of `channels` as in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        super().__init__(channels, classes, inner or channels // 4, ConvModule)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        return self.classify(self.aspp(x))


class MmsegDeepLabV3PlusHead(MmsegASPPHead):
    """ASPP of depthwise separable convolutions, and a decoder that adds the low-level features of stage 1.

    `inner` is as in `MmsegDeepLabV3Head`.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(channels, classes, inner, DepthwiseSeparableConvModule)
        self.c1_bottleneck = ConvModule(LOW_LEVEL_CHANNELS, LOW_LEVEL_INNER, 1)
        self.sep_bottleneck = nn.Sequential(
            DepthwiseSeparableConvModule(inner + LOW_LEVEL_INNER, inner), DepthwiseSeparableConvModule(inner, inner)
        )

    def forward(self, x: Tensor, low_level: Tensor) -> Tensor:
        """Map `(n, channels, h/8, w/8)` and `(n, 256, h/4, w/4)` features to `(n, classes, h/4, w/4)` logits."""
        low_level = self.c1_bottleneck(low_level)  # (n, 48, h/4, w/4)
        merged = torch.cat([resize_like(self.aspp(x), low_level), low_level], dim=1)  # (n, inner + 48, h/4, w/4)
        return self.classify(self.sep_bottleneck(merged))
