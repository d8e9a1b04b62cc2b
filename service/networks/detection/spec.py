"""The published detectors by name: what each is made of, and the rules in which the two families differ."""

from dataclasses import dataclass, replace
from typing import Literal

from service.networks.detection.boxes import Weights
from service.networks.detection.layers import CHANNELS

STAGE_WEIGHTS: tuple[Weights, ...] = ((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15))
# OpenMMLab states standard deviations, of which these are the inverses.
MMDET_WEIGHTS: tuple[Weights, ...] = (*STAGE_WEIGHTS[:2], (1 / 0.033, 1 / 0.033, 1 / 0.067, 1 / 0.067))


@dataclass(frozen=True)
class Rules:
    """Rules of a family that the weights do not show, so that a wrong one gives wrong boxes silently.

    `clamp_shrinking` limits how far a delta may shrink a box. `stage_weights` divide the deltas of each stage. Of a
    cascade's stages `average` says what is averaged. `level_epsilon` is added before the level's logarithm.
    `scale_first` means that boxes are scaled to the upload before they suppress each other; otherwise afterwards, and
    clipped to it. It shows only where the upload has another size than the network's input: workers return fractions
    of the input, which the gateway scales. `resize` is the filter that makes the network's input, as cards name it.
    """

    clamp_shrinking: bool
    stage_weights: tuple[Weights, ...]
    average: Literal["probabilities", "logits"]
    level_epsilon: float
    scale_first: bool
    resize: Literal["bilinear", "opencv_linear"]


AUTHORS = Rules(
    clamp_shrinking=False,
    stage_weights=STAGE_WEIGHTS,
    average="probabilities",
    level_epsilon=4 * 2.0**-52,  # the epsilon of float64, inside a logarithm of a quarter of the ratio
    scale_first=False,
    resize="bilinear",
)
MMDET = Rules(
    clamp_shrinking=True,
    stage_weights=MMDET_WEIGHTS,
    average="logits",
    level_epsilon=1e-6,
    scale_first=True,
    resize="opencv_linear",
)


@dataclass(frozen=True)
class DetectorSpec:
    """The parts of a detector. `stages` is 3 for a cascade, `masks` the number of mask heads.

    `box_convolutions` and `box_layers` are those of each box head. `fpn_norm` and `mask_norm` say whether BatchNorm
    follows the convolutions of the pyramid and of the mask head. `backbone` names an architecture of
    `service.networks`; with `stride_first` its strided blocks have the stride in their first convolution.
    """

    backbone: str
    rules: Rules
    stages: int = 1
    masks: int = 0
    box_convolutions: int = 4
    box_layers: int = 1
    mask_convolutions: int = 4
    fpn_norm: bool = True
    mask_norm: bool = True
    stride_first: bool = False
    channels: int = CHANNELS
    hidden: int = 1024


def _authors() -> dict[str, DetectorSpec]:
    """Return the detectors of the authors' zoo. Its plain ResNets have the stride in the first convolution."""
    found: dict[str, DetectorSpec] = {}
    for backbone in ("resnet50", "resnet101", "resnest50", "resnest101", "resnest200"):
        plain = DetectorSpec(backbone, AUTHORS, stride_first=backbone.startswith("resnet"))
        found |= {
            f"faster_rcnn_{backbone}": plain,
            f"cascade_rcnn_{backbone}": replace(plain, stages=3),
            f"mask_rcnn_{backbone}": replace(plain, masks=1),
            f"cascade_mask_rcnn_{backbone}": replace(plain, stages=3, masks=1),
        }
    tricks = replace(found["cascade_mask_rcnn_resnest200"], mask_convolutions=8)
    return {**found, "cascade_mask_rcnn_resnest200": tricks}


def _mmdet() -> dict[str, DetectorSpec]:
    """Return OpenMMLab's detectors. Its ResNet baselines have no BatchNorm and two layers in the box head."""
    found: dict[str, DetectorSpec] = {}
    for backbone in ("resnet50", "resnet101", "resnest50", "resnest101"):
        plain = DetectorSpec(backbone, MMDET, fpn_norm=False)
        if backbone.startswith("resnet"):
            plain = replace(plain, box_convolutions=0, box_layers=2, mask_norm=False)
        found |= {
            f"mmdet_faster_rcnn_{backbone}": plain,
            f"mmdet_cascade_rcnn_{backbone}": replace(plain, stages=3),
            f"mmdet_mask_rcnn_{backbone}": replace(plain, masks=1),
            f"mmdet_cascade_mask_rcnn_{backbone}": replace(plain, stages=3, masks=3),
        }
    return found


# Small detectors, such as the built-in one: narrow, and without BatchNorm behind the backbone, since batches are small
# in training.
_NARROW = DetectorSpec(
    "resnest14",
    AUTHORS,
    masks=1,
    box_convolutions=0,
    box_layers=2,
    fpn_norm=False,
    mask_norm=False,
    channels=64,
    hidden=256,
)

STARTERS = {
    "starter_mask_rcnn_resnest14": _NARROW,
    "starter_cascade_mask_rcnn_resnest14": replace(_NARROW, stages=3),
}
DETECTORS = {**_authors(), **_mmdet(), **STARTERS}
