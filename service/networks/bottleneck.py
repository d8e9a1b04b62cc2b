"""The one residual block of ResNet, ResNeXt, ResNet-D and ResNeSt; its parameters make the family."""

from dataclasses import dataclass

from torch import Tensor, nn

from service.networks.split_attention import SplitAttentionConv2d

EXPANSION = 4


@dataclass(frozen=True)
class BlockStyle:
    """What distinguishes one family's bottleneck from another's.

    `radix` 0 is a plain 3x3 convolution, 1 and more Split-Attention with that many splits. `average_down` pools in the
    shortcut before its 1x1 convolution (ResNet-D, arXiv 1812.01187). `average_downsampling` ("avd") strides by a 3x3
    average pool beside the 3x3 convolution, `average_first` before it (the published "fast" variants).
    """

    radix: int = 0
    cardinality: int = 1
    width: int = 64
    average_down: bool = False
    average_downsampling: bool = False
    average_first: bool = False

    def group_width(self, planes: int) -> int:
        """Channels of the 3x3 convolution in a stage of `planes`."""
        return int(planes * self.width / 64) * self.cardinality


class Bottleneck(nn.Module):
    """1x1, 3x3 (or Split-Attention), 1x1, and a shortcut: `(n, c, h, w)` to `(n, 4 * planes, h / stride, w / stride)`.

    `first` marks the first block of stages 2 to 4, where the official networks keep the 3x3 average pool even when
    dilation took the stride away. Attribute names are those of the released checkpoints.
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
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        width = style.group_width(planes)
        pooled = style.average_downsampling and (stride > 1 or first)
        pool = nn.AvgPool2d(3, stride, padding=1) if pooled else nn.Identity()
        conv_stride = 1 if pooled else stride
        self.conv1 = nn.Conv2d(channels, width, kernel_size=1, bias=False)
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
        """The block's map, after the last ReLU."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.conv2(self.pool_before(out))
        if self.plain:  # Split-Attention normalises inside, and nothing follows its weighted sum
            out = self.relu(self.bn2(out))
        out = self.bn3(self.conv3(self.pool_after(out)))
        shortcut = x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out + shortcut)
        return activated
