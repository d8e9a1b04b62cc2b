"""Build the networks of this project by name. Weights are random and nothing is read from the disk."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from service.networks import resnest, resnet
from service.networks.deeplab import DeepLabV3Head
from service.networks.detection.detector import Detector
from service.networks.detection.spec import DETECTORS
from service.networks.fcn import FCNHead
from service.networks.mmseg import danet, deeplab, encnet, fcn, psanet, psp, upernet
from service.networks.resnet import FEATURE_CHANNELS, ResNet
from service.networks.segmentation import AUXILIARY_CHANNELS, Segmenter

ARCHITECTURES = {**resnet.ARCHITECTURES, **resnest.ARCHITECTURES}


@dataclass(frozen=True)
class SegmenterSpec:
    """How to build the heads of a segmentation network.

    The callable `head` takes channels, classes, and the inner width or None; `auxiliary` takes channels and classes.
    The head gets the feature maps of the 0-based backbone `stages`. For `align_corners` and `pool_dilated`, in which
    PyTorch-Encoding and MMSegmentation differ, see `Segmenter` and `ResNet`.
    """

    head: Callable[[int, int, int | None], nn.Module]
    auxiliary: Callable[[int, int], nn.Module]
    stages: tuple[int, ...] = (3,)
    align_corners: bool = True
    pool_dilated: bool = True


def _mmseg(head: Callable[[int, int, int | None], nn.Module], stages: tuple[int, ...] = (3,)) -> SegmenterSpec:
    return SegmenterSpec(head, fcn.MmsegAuxiliaryHead, stages, align_corners=False, pool_dilated=False)


# By name: the heads of PyTorch-Encoding, then those of MMSegmentation.
SEGMENTATION_HEADS = {
    "deeplab": SegmenterSpec(DeepLabV3Head, FCNHead),
    "fcn": SegmenterSpec(FCNHead, FCNHead),
    "mmseg_deeplab": _mmseg(deeplab.MmsegDeepLabV3Head),
    "mmseg_deeplabplus": _mmseg(deeplab.MmsegDeepLabV3PlusHead, stages=(3, 0)),
    "mmseg_psp": _mmseg(psp.MmsegPSPHead),
    "mmseg_fcn": _mmseg(fcn.MmsegFCNHead),
    "mmseg_uper": _mmseg(upernet.MmsegUPerHead, stages=(0, 1, 2, 3)),
    "mmseg_enc": _mmseg(encnet.MmsegEncHead),
    "mmseg_da": _mmseg(danet.MmsegDAHead),
    "mmseg_psa66": _mmseg(partial(psanet.MmsegPSAHead, mask=66)),  # by the side of its masks
    "mmseg_psa97": _mmseg(partial(psanet.MmsegPSAHead, mask=97)),
}


def names() -> list[str]:
    """Return every name that `build` takes: classifiers `<backbone>`, segmenters `<head>_<backbone>`, and detectors."""
    segmenters = (f"{head}_{backbone}" for head in SEGMENTATION_HEADS for backbone in ARCHITECTURES)
    return [*ARCHITECTURES, *segmenters, *DETECTORS]


def build(
    name: str,
    classes: int,
    output_stride: int | None = None,
    *,
    head_channels: int | None = None,
    auxiliary: bool = True,
) -> nn.Module:
    """Return a classifier (`resnest50`), a segmenter (`deeplab_resnest50`) or a detector (`mask_rcnn_resnest50`).

    The default output stride is 32 for a classifier and 8 for a segmenter. A detector has no choice of it.
    `head_channels` and `auxiliary` are only for a segmenter, as in `build_segmenter`. Raises `KeyError` for an unknown
    name or output stride.
    """
    if name in ARCHITECTURES:
        return ResNet(ARCHITECTURES[name], classes, output_stride or 32)
    if name in DETECTORS:
        return Detector(DETECTORS[name], classes)
    head, backbone = _split_name(name)
    stride = output_stride or 8
    return build_segmenter(head, backbone, classes, stride, head_channels=head_channels, auxiliary=auxiliary)


def _split_name(name: str) -> tuple[str, str]:
    """Return the head and the backbone of a segmenter's name. Both may contain underscores. Raises `KeyError`."""
    for head in SEGMENTATION_HEADS:
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
    """Return a segmenter: `head` (a key of `SEGMENTATION_HEADS`) on the dilated `backbone`.

    `head_channels` is the inner width of the head, by default the published one. `auxiliary` adds the auxiliary head,
    which is used in training. Raises `KeyError` for an unknown head, backbone or output stride.
    """
    spec = SEGMENTATION_HEADS[head]
    trunk = ResNet(ARCHITECTURES[backbone], 0, output_stride, pool_dilated=spec.pool_dilated)
    extra = spec.auxiliary(AUXILIARY_CHANNELS, classes) if auxiliary else None
    main = spec.head(FEATURE_CHANNELS, classes, head_channels)
    return Segmenter(trunk, main, extra, stages=spec.stages, align_corners=spec.align_corners)
