"""The fully convolutional head (arXiv 1411.4038, section 3) and the auxiliary head as in MMSegmentation."""

import torch
from torch import Tensor, nn

from service.networks.mmseg.layers import ConvModule, MmsegHead


class MmsegFCNHead(MmsegHead):
    """Two 3x3 convolutions, a third one over the input and their output, and the classifier.

    `inner` is the width between them, by default a quarter of `channels` as in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(inner, classes)
        self.convs = nn.Sequential(ConvModule(channels, inner), ConvModule(inner, inner))
        self.conv_cat = ConvModule(channels + inner, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        merged = torch.cat([x, self.convs(x)], dim=1)  # (n, channels + inner, h, w)
        return self.classify(self.conv_cat(merged))


class MmsegAuxiliaryHead(MmsegHead):
    """One 3x3 convolution and the classifier, used only in training."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels // 4, classes)
        self.convs = nn.Sequential(ConvModule(channels, channels // 4))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        return self.classify(self.convs(x))
