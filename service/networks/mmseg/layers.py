"""The layers of MMSegmentation's heads, with the names in its checkpoints."""

from torch import Tensor, nn
from torch.nn import functional


class ConvModule(nn.Module):
    """Convolution without bias, BatchNorm and ReLU; padding keeps the size of the map."""

    def __init__(self, channels: int, out: int, kernel: int = 3, *, rate: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = rate * (kernel // 2)
        self.conv = nn.Conv2d(channels, out, kernel, padding=padding, dilation=rate, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, out, h, w)`."""
        activated: Tensor = self.relu(self.bn(self.conv(x)))
        return activated


class DepthwiseSeparableConvModule(nn.Module):
    """A depthwise 3x3 and a pointwise 1x1 `ConvModule` (arXiv 1802.02611, section 3.1)."""

    def __init__(self, channels: int, out: int, *, rate: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(channels, channels, rate=rate, groups=channels)
        self.pointwise_conv = ConvModule(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, out, h, w)`."""
        mixed: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return mixed


class MmsegHead(nn.Module):
    """Base class of the heads, with dropout and the 1x1 classifier."""

    def __init__(self, inner: int, classes: int) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(inner, classes, 1)
        self.dropout = nn.Dropout2d(0.1)

    def classify(self, x: Tensor) -> Tensor:
        """Map `(n, inner, h, w)` features to `(n, classes, h, w)` logits."""
        logits: Tensor = self.conv_seg(self.dropout(x))
        return logits


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """Resize `(n, c, h, w)` bilinearly to the sides of `like`; corners do not align, as in MMSegmentation."""
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
