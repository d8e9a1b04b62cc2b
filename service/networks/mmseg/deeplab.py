"""DeepLabV3 (arXiv 1706.05587, section 3.3) and DeepLabV3+ (arXiv 1802.02611, section 3) as in MMSegmentation."""

import torch
from torch import Tensor, nn

from service.networks.deeplab import RATES
from service.networks.mmseg.layers import Convolution, Head, SeparableConvolution, resized

DETAIL_CHANNELS = 256  # of stage 1's map, at a quarter of the picture's sides
DETAIL_INNER = 48


class Pyramid(Head):
    """Five branches side by side, merged by a 3x3 convolution to `inner` channels."""

    def __init__(
        self, channels: int, classes: int, inner: int, atrous: type[Convolution] | type[SeparableConvolution]
    ) -> None:
        super().__init__(inner, classes)
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), Convolution(channels, inner, 1))
        branches = [Convolution(channels, inner, 1), *(atrous(channels, inner, rate=rate) for rate in RATES)]
        self.aspp_modules = nn.ModuleList(branches)
        self.bottleneck = Convolution((1 + len(branches)) * inner, inner)

    def pyramid(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)` to `(n, inner, h, w)`."""
        pooled = self.image_pool(x).expand(-1, -1, x.shape[2], x.shape[3])  # one value resized is that value repeated
        merged: Tensor = self.bottleneck(torch.cat([pooled, *(branch(x) for branch in self.aspp_modules)], dim=1))
        return merged


class DeepLabV3Head(Pyramid):
    """The pyramid and the classifier: `(n, c, h, w)` to `(n, classes, h, w)`.

    `inner` is the width between them, a quarter of `channels` in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        super().__init__(channels, classes, inner or channels // 4, Convolution)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the map's own resolution."""
        return self.classify(self.pyramid(x))


class DeepLabV3PlusHead(Pyramid):
    """The pyramid of separable convolutions, and a decoder that adds the detail of stage 1.

    `(n, c, h/8, w/8)` and `(n, 256, h/4, w/4)` become `(n, classes, h/4, w/4)`; `inner` as in `DeepLabV3Head`.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(channels, classes, inner, SeparableConvolution)
        self.c1_bottleneck = Convolution(DETAIL_CHANNELS, DETAIL_INNER, 1)
        self.sep_bottleneck = nn.Sequential(
            SeparableConvolution(inner + DETAIL_INNER, inner), SeparableConvolution(inner, inner)
        )

    def forward(self, x: Tensor, detail: Tensor) -> Tensor:
        """Logits at the resolution of `detail`."""
        detail = self.c1_bottleneck(detail)  # (n, 48, h/4, w/4)
        merged = torch.cat([resized(self.pyramid(x), detail), detail], dim=1)  # (n, inner + 48, h/4, w/4)
        return self.classify(self.sep_bottleneck(merged))
