"""What MMSegmentation's heads are built of, by the names in its checkpoints."""

from torch import Tensor, nn
from torch.nn import functional


class Convolution(nn.Module):
    """Convolution, BatchNorm, ReLU; the map keeps its size: `(n, c, h, w)` to `(n, out, h, w)`."""

    def __init__(self, channels: int, out: int, kernel: int = 3, *, rate: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = rate * (kernel // 2)
        self.conv = nn.Conv2d(channels, out, kernel, padding=padding, dilation=rate, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """The activated map."""
        activated: Tensor = self.relu(self.bn(self.conv(x)))
        return activated


class SeparableConvolution(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 (arXiv 1802.02611, section 3.1), each a `Convolution`."""

    def __init__(self, channels: int, out: int, *, rate: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = Convolution(channels, channels, rate=rate, groups=channels)
        self.pointwise_conv = Convolution(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, channels, h, w)` to `(n, out, h, w)`."""
        mixed: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return mixed


class Head(nn.Module):
    """What every head ends in: dropout and the 1x1 classifier, `(n, inner, h, w)` to `(n, classes, h, w)`."""

    def __init__(self, inner: int, classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(inner, classes, 1)
        self.dropout = nn.Dropout2d(0.1)

    def classify(self, x: Tensor) -> Tensor:
        """Logits at the map's own resolution."""
        logits: Tensor = self.conv_seg(self.dropout(x))
        return logits


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the other map's sides; corners do not align, as in all of these networks."""
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
