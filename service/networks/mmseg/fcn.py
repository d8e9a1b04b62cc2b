"""The fully convolutional head (arXiv 1411.4038, section 3), as MMSegmentation has it, and its auxiliary head."""

import torch
from torch import Tensor, nn

from service.networks.mmseg.layers import Convolution, Head


class FCNHead(Head):
    """Two 3x3 convolutions, a third over the map and them, the classifier: `(n, c, h, w)` to `(n, classes, h, w)`.

    `inner` is the width between them, a quarter of `channels` in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        inner = inner or channels // 4
        super().__init__(inner, classes)
        self.convs = nn.Sequential(Convolution(channels, inner), Convolution(inner, inner))
        self.conv_cat = Convolution(channels + inner, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the map's own resolution."""
        return self.classify(self.conv_cat(torch.cat([x, self.convs(x)], dim=1)))  # (n, c + inner, h, w) between


class AuxiliaryHead(Head):
    """One 3x3 convolution and the classifier, for training."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels // 4, classes)
        self.convs = nn.Sequential(Convolution(channels, channels // 4))

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the map's own resolution."""
        return self.classify(self.convs(x))
