"""The networks we serve, by name. Building one touches no disk; its weights are random."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from service.networks import resnest, resnet
from service.networks.deeplab import DeepLabV3Head
from service.networks.fcn import FCNHead
from service.networks.mmseg import deeplab, fcn, psp
from service.networks.resnet import FEATURES, ResNet
from service.networks.segmentation import AUXILIARY_CHANNELS, Segmenter

ARCHITECTURES = {**resnet.ARCHITECTURES, **resnest.ARCHITECTURES}


@dataclass(frozen=True)
class Family:
    """A way to build segmenters: the head, made with channels, classes and inner width, and the auxiliary head.

    `stages` are those whose maps the head takes, from 0. `align_corners` and `pool_dilated` as in `Segmenter` and
    `ResNet`: the projects differ in them although their keys could be the same.
    """

    head: Callable[[int, int, int | None], nn.Module]
    auxiliary: Callable[[int, int], nn.Module]
    stages: tuple[int, ...] = (3,)
    align_corners: bool = True
    pool_dilated: bool = True


def _mmseg(head: Callable[[int, int, int | None], nn.Module], stages: tuple[int, ...] = (3,)) -> Family:
    return Family(head, fcn.AuxiliaryHead, stages, align_corners=False, pool_dilated=False)


# PyTorch-Encoding's, then MMSegmentation's.
HEADS = {
    "deeplab": Family(DeepLabV3Head, FCNHead),
    "fcn": Family(FCNHead, FCNHead),
    "mmseg_deeplab": _mmseg(deeplab.DeepLabV3Head),
    "mmseg_deeplabplus": _mmseg(deeplab.DeepLabV3PlusHead, stages=(3, 0)),
    "mmseg_psp": _mmseg(psp.PSPHead),
    "mmseg_fcn": _mmseg(fcn.FCNHead),
}


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
    if name in ARCHITECTURES:
        return ResNet(ARCHITECTURES[name], classes, output_stride or 32)
    head, backbone = _parts(name)
    stride = output_stride or 8
    return build_segmenter(head, backbone, classes, stride, head_channels=head_channels, auxiliary=auxiliary)


def _parts(name: str) -> tuple[str, str]:
    """A segmenter's head and backbone, of which both have underscores in their names."""
    for head in HEADS:
        if name.startswith(f"{head}_"):
            return head, name.removeprefix(f"{head}_")
    raise KeyError(name)


def build_segmenter(
    head: str,
    backbone: str,
    classes: int,
    output_stride: int = 8,
    *,
    head_channels: int | None = None,
    auxiliary: bool = True,
) -> Segmenter:
    """`head` (a key of `HEADS`) and, for training, an auxiliary head on a dilated `backbone`.

    `head_channels` is the head's inner width, the published one where it is None. Raises `KeyError`.
    """
    family = HEADS[head]
    trunk = ResNet(ARCHITECTURES[backbone], 0, output_stride, pool_dilated=family.pool_dilated)
    extra = family.auxiliary(AUXILIARY_CHANNELS, classes) if auxiliary else None
    main = family.head(FEATURES, classes, head_channels)
    return Segmenter(trunk, main, extra, stages=family.stages, align_corners=family.align_corners)
