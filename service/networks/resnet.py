"""The residual backbone of all networks, and the published variants of ResNet, ResNeXt and ResNet-D.

ResNet: arXiv 1512.03385. ResNeXt: arXiv 1611.05431. ResNet-C and ResNet-D: arXiv 1812.01187, section 4. The state_dict
keys are those of torchvision (ResNet, ResNeXt) and timm (ResNet-D).
"""

from dataclasses import dataclass

from torch import Tensor, nn

from service.networks.bottleneck import EXPANSION, BlockStyle, Bottleneck

STAGE_PLANES = (64, 128, 256, 512)
FEATURE_CHANNELS = STAGE_PLANES[-1] * EXPANSION


@dataclass(frozen=True)
class Architecture:
    """One row of a paper's table: number of blocks in each stage, style of the blocks, and width of the stem.

    `deep_stem` 0 is a 7x7 convolution. Otherwise the stem has three 3x3 convolutions of that width, the last one twice
    as wide.
    """

    blocks: tuple[int, int, int, int]
    style: BlockStyle
    deep_stem: int = 0


RESNET_D = BlockStyle(average_down=True)
ARCHITECTURES = {
    "resnet50": Architecture((3, 4, 6, 3), BlockStyle()),
    "resnet101": Architecture((3, 4, 23, 3), BlockStyle()),
    "resnext50_32x4d": Architecture((3, 4, 6, 3), BlockStyle(cardinality=32, width=4)),
    "resnext101_32x4d": Architecture((3, 4, 23, 3), BlockStyle(cardinality=32, width=4)),
    "resnext101_32x8d": Architecture((3, 4, 23, 3), BlockStyle(cardinality=32, width=8)),
    "resnet50c": Architecture((3, 4, 6, 3), BlockStyle(), deep_stem=32),
    "resnet101c": Architecture((3, 4, 23, 3), BlockStyle(), deep_stem=32),
    "resnet14d": Architecture((1, 1, 1, 1), RESNET_D, deep_stem=32),
    "resnet50d": Architecture((3, 4, 6, 3), RESNET_D, deep_stem=32),
    "resnet101d": Architecture((3, 4, 23, 3), RESNET_D, deep_stem=32),
}

# Output stride -> (stride, dilation, dilation of the first block) of stages 3 and 4, as in the official network.
DILATIONS = {
    32: ((2, 1, 1), (2, 1, 1)),
    16: ((2, 1, 1), (1, 2, 1)),
    8: ((1, 2, 1), (1, 4, 2)),
}


class ResNet(nn.Module):
    """A stem, four stages of bottlenecks, and a linear classifier.

    With `classes` 0 there is no classifier, for a segmentation backbone or an embedding. An `output_stride` of 8 or 16
    replaces strides of the last stages by dilation. Parameter shapes do not change, so classification weights fit.
    With `pool_dilated` ResNeSt's 3x3 average pool stays where dilation replaces the stride, as in the official networks
    but not in MMSegmentation. `stride_first` is for plain ResNets only; see `Bottleneck`.
    """

    def __init__(
        self,
        architecture: Architecture,
        classes: int,
        output_stride: int = 32,
        *,
        pool_dilated: bool = True,
        stride_first: bool = False,
    ) -> None:
        super().__init__()
        stage3, stage4 = DILATIONS[output_stride]
        geometry = ((1, 1, 1), (2, 1, 1), stage3, stage4)
        self.conv1, channels = _stem(architecture.deep_stem)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        stages = []
        for index, (planes, blocks) in enumerate(zip(STAGE_PLANES, architecture.blocks, strict=True)):
            first = index > 0 and pool_dilated
            layers = _stage(
                channels, planes, blocks, architecture.style, geometry[index], first=first, stride_first=stride_first
            )
            stages.append(layers)
            channels = planes * EXPANSION
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(FEATURE_CHANNELS, classes) if classes else nn.Identity()

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map `(n, 3, h, w)` to the feature maps of the four stages.

        They are `(n, 256, h/4, w/4)`, `(n, 512, h/8, w/8)`, `(n, 1024, h/16, w/16)` and `(n, 2048, h/32, w/32)`. With
        output stride 8 the last two are h/8 by w/8; with 16 both are h/16 by w/16.
        """
        c1 = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        c2 = self.layer2(c1)
        c3 = self.layer3(c2)
        return c1, c2, c3, self.layer4(c3)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, 3, h, w)` to `(n, classes)` logits or, with `classes` 0, to `(n, 2048)` pooled features."""
        logits: Tensor = self.fc(self.pooled(x))
        return logits

    def pooled(self, x: Tensor) -> Tensor:
        """Map `(n, 3, h, w)` to the input of the classifier `(n, 2048)`, the mean of the last stage's map."""
        return self.avgpool(self.stages(x)[-1]).flatten(1)  # type: ignore[no-any-return]


def _stem(width: int) -> tuple[nn.Module, int]:
    """Return the convolutions of the stem, which halve the resolution, and the number of output channels."""
    if not width:
        return nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False), 64
    layers = [
        nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
    ]
    return nn.Sequential(*layers), 2 * width


def _stage(
    channels: int,
    planes: int,
    blocks: int,
    style: BlockStyle,
    geometry: tuple[int, int, int],
    *,
    first: bool,
    stride_first: bool,
) -> nn.Sequential:
    stride, dilation, first_dilation = geometry
    shortcut = _shortcut(channels, planes * EXPANSION, stride, pooled=style.average_down)
    layers = [
        Bottleneck(
            channels,
            planes,
            style,
            stride=stride,
            dilation=first_dilation,
            first=first,
            stride_first=stride_first,
            downsample=shortcut,
        )
    ]
    layers += [Bottleneck(planes * EXPANSION, planes, style, dilation=dilation) for _ in range(1, blocks)]
    return nn.Sequential(*layers)


def _shortcut(channels: int, out: int, stride: int, *, pooled: bool) -> nn.Sequential:
    if not pooled:
        return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
    pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(pool, nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out))
