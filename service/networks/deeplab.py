"""The DeepLabV3 head (arXiv 1706.05587), as PyTorch-Encoding has it."""

import torch
from torch import Tensor, nn

RATES = (12, 24, 36)  # atrous rates for output stride 8


def _normalised(channels: int, out: int, kernel: int, rate: int = 1) -> list[nn.Module]:
    padding = rate if kernel > 1 else 0
    conv = nn.Conv2d(channels, out, kernel, padding=padding, dilation=rate, bias=False)
    return [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


class ImagePooling(nn.Module):
    """The picture's mean feature, spread over the map: `(n, c, h, w)` to `(n, out, h, w)`."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.gap = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_normalised(channels, out, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The pooled feature, repeated over the map."""
        pooled: Tensor = self.gap(x)  # (n, out, 1, 1); upsampling one value bilinearly is repeating it
        return pooled.expand(-1, -1, x.shape[2], x.shape[3])


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: five branches side by side, projected to `out` channels."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.b0 = nn.Sequential(*_normalised(channels, out, 1))
        self.b1, self.b2, self.b3 = (nn.Sequential(*_normalised(channels, out, 3, rate)) for rate in RATES)
        self.b4 = ImagePooling(channels, out)
        self.project = nn.Sequential(*_normalised(5 * out, out, 1), nn.Dropout2d(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)` to `(n, out, h, w)`."""
        branches = [branch(x) for branch in (self.b0, self.b1, self.b2, self.b3, self.b4)]
        projected: Tensor = self.project(torch.cat(branches, dim=1))
        return projected


class DeepLabV3Head(nn.Module):
    """Atrous pyramid, 3x3 convolution, 1x1 classifier: `(n, c, h, w)` to `(n, classes, h, w)`.

    `inner` is the width between them, an eighth of `channels` in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None) -> None:
        super().__init__()
        inner = inner or channels // 8
        self.aspp = AtrousPyramid(channels, inner)
        self.block = nn.Sequential(*_normalised(inner, inner, 3), nn.Dropout(0.1), nn.Conv2d(inner, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the map's own resolution."""
        logits: Tensor = self.block(self.aspp(x))
        return logits
