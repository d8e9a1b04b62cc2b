"""The bottleneck block of ResNet, ResNeXt, ResNet-D and ResNeSt; `BlockStyle` selects the family."""

from dataclasses import dataclass

from torch import Tensor, nn

from service.networks.split_attention import SplitAttentionConv2d

EXPANSION = 4


@dataclass(frozen=True)
class BlockStyle:
    """The parameters in which the bottlenecks of the families differ.

    With `radix` 0 the block has a plain 3x3 convolution, otherwise Split-Attention with `radix` splits. With
    `average_down` the shortcut pools before its 1x1 convolution (ResNet-D, arXiv 1812.01187). With
    `average_downsampling` ("avd") a 3x3 average pool has the stride instead of the 3x3 convolution. It follows the
    convolution or, with `average_first`, precedes it (the published "fast" variants).
    """

    radix: int = 0
    cardinality: int = 1
    width: int = 64
    average_down: bool = False
    average_downsampling: bool = False
    average_first: bool = False

    def group_width(self, planes: int) -> int:
        """Return the number of channels of the 3x3 convolution in a stage of `planes`."""
        return int(planes * self.width / 64) * self.cardinality


class Bottleneck(nn.Module):
    """Residual block: 1x1 convolution, 3x3 convolution (or Split-Attention), 1x1 convolution, and a shortcut.

    `first` marks the first block of stages 2 to 4. There the official networks keep the 3x3 average pool even if
    dilation replaces the stride. `stride_first` puts the stride into the first convolution, as the original ResNet and
    its Caffe weights have it. The attribute names are those of the released checkpoints.
    """

    def __init__(
        self,
        channels: int,
        planes: int,
        style: BlockStyle,
        *,
        stride: int = 1,
        dilation: int = 1,
        first: bool = False,
        stride_first: bool = False,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        width = style.group_width(planes)
        pooled = style.average_downsampling and (stride > 1 or first)
        pool = nn.AvgPool2d(3, stride, padding=1) if pooled else nn.Identity()
        conv_stride = 1 if pooled or stride_first else stride
        self.conv1 = nn.Conv2d(channels, width, 1, stride if stride_first else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool_before = pool if style.average_first else nn.Identity()
        self.conv2: nn.Module
        self.bn2: nn.Module
        if style.radix:
            self.conv2 = SplitAttentionConv2d(
                width, radix=style.radix, cardinality=style.cardinality, stride=conv_stride, dilation=dilation
            )
            self.bn2 = nn.Identity()
        else:
            groups = style.cardinality
            self.conv2 = nn.Conv2d(width, width, 3, conv_stride, dilation, dilation, groups, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
        self.pool_after = nn.Identity() if style.average_first else pool
        self.conv3 = nn.Conv2d(width, planes * EXPANSION, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.plain = style.radix == 0

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, 4 * planes, h / stride, w / stride)`."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.conv2(self.pool_before(out))
        if self.plain:  # Split-Attention normalises inside; no norm and no ReLU follow it
            out = self.relu(self.bn2(out))
        out = self.bn3(self.conv3(self.pool_after(out)))
        shortcut = x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out + shortcut)
        return activated
