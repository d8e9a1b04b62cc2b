"""The networks we serve, by name. Building one touches no disk; its weights are random."""

from torch import nn

from service.networks import resnest, resnet
from service.networks.deeplab import DeepLabV3Head
from service.networks.fcn import FCNHead
from service.networks.resnet import FEATURES, ResNet
from service.networks.segmentation import AUXILIARY_CHANNELS, Segmenter

ARCHITECTURES = {**resnet.ARCHITECTURES, **resnest.ARCHITECTURES}
HEADS = {"deeplab": DeepLabV3Head, "fcn": FCNHead}


def names() -> list[str]:
    """Every name `build` knows: backbones, and `<head>_<backbone>` for segmentation."""
    return [*ARCHITECTURES, *(f"{head}_{backbone}" for head in HEADS for backbone in ARCHITECTURES)]


def build(
    name: str,
    classes: int,
    output_stride: int | None = None,
    *,
    head_channels: int | None = None,
    auxiliary: bool = True,
) -> nn.Module:
    """A classifier (`resnest50`) or a segmenter (`deeplab_resnest50`, output stride 8 unless told).

    The last two arguments are a segmenter's, as in `build_segmenter`. Raises `KeyError` for an unknown name or output
    stride.
    """
    head, _, backbone = name.partition("_")
    if head in HEADS:
        stride = output_stride or 8
        return build_segmenter(head, backbone, classes, stride, head_channels=head_channels, auxiliary=auxiliary)
    return ResNet(ARCHITECTURES[name], classes, output_stride or 32)


def build_segmenter(
    head: str,
    backbone: str,
    classes: int,
    output_stride: int = 8,
    *,
    head_channels: int | None = None,
    auxiliary: bool = True,
) -> Segmenter:
    """`head` (a key of `HEADS`) and, for training, an auxiliary FCN head on a dilated `backbone`.

    `head_channels` is the head's inner width, the published one where it is None. Raises `KeyError`.
    """
    trunk = ResNet(ARCHITECTURES[backbone], classes=0, output_stride=output_stride)
    extra = FCNHead(AUXILIARY_CHANNELS, classes) if auxiliary else None
    return Segmenter(trunk, HEADS[head](FEATURES, classes, head_channels), extra)
