"""The DeepLabV3 head (arXiv 1706.05587) as in PyTorch-Encoding."""

import torch
from torch import Tensor, nn

ATROUS_RATES = (12, 24, 36)  # dilations of the 3x3 branches, for output stride 8


def _conv_bn_relu(channels: int, out: int, kernel: int, rate: int = 1) -> list[nn.Module]:
    padding = rate if kernel > 1 else 0
    conv = nn.Conv2d(channels, out, kernel, padding=padding, dilation=rate, bias=False)
    return [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


class ASPPPooling(nn.Module):
    """The image-level branch of ASPP: global average pool and 1x1 convolution, repeated over the map."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.gap = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_bn_relu(channels, out, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, out, h, w)`."""
        pooled: Tensor = self.gap(x)  # (n, out, 1, 1); expanding equals bilinear upsampling of one value
        return pooled.expand(-1, -1, x.shape[2], x.shape[3])


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: five parallel branches, concatenated and projected to `out` channels."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.b0 = nn.Sequential(*_conv_bn_relu(channels, out, 1))
        self.b1, self.b2, self.b3 = (nn.Sequential(*_conv_bn_relu(channels, out, 3, rate)) for rate in ATROUS_RATES)
        self.b4 = ASPPPooling(channels, out)
        self.project = nn.Sequential(*_conv_bn_relu(5 * out, out, 1), nn.Dropout2d(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, out, h, w)`."""
        branches = [branch(x) for branch in (self.b0, self.b1, self.b2, self.b3, self.b4)]
        projected: Tensor = self.project(torch.cat(branches, dim=1))
        return projected


class DeepLabV3Head(nn.Module):
    """ASPP, 3x3 convolution and 1x1 classifier.

    `inner` is the width between them, by default an eighth of `channels` as in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or channels // 8
        self.aspp = ASPP(channels, inner)
        self.block = nn.Sequential(*_conv_bn_relu(inner, inner, 3), nn.Dropout(0.1), nn.Conv2d(inner, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        logits: Tensor = self.block(self.aspp(x))
        return logits
