"""The keys and shapes of every published checkpoint, as instantiated by the published code, against our networks."""

from pathlib import Path

import pytest
import torch

from service.networks.detection import key_names
from service.networks.detection.detector import Detector
from service.networks.detection.spec import DETECTORS

LISTS = Path(__file__).parents[4] / "shared" / "data" / "detection-keys"
KINDS = {
    "faster_rcnn_": "faster_rcnn",
    "faster_cascade_": "cascade_rcnn",
    "mask_cascade_": "cascade_mask_rcnn",
    "mask_rcnn_": "mask_rcnn",
}
BACKBONES = {
    "_R_50_": "resnet50",
    "_R_101_": "resnet101",
    "_ResNeSt_50_": "resnest50",
    "_ResNeSt_101_": "resnest101",
    "_ResNeSt_200_": "resnest200",
    "_r50_": "resnet50",
    "_s50_": "resnest50",
    "_s101_": "resnest101",
}


def name_of(path: Path) -> str:
    backbone = next(name for part, name in BACKBONES.items() if part in path.name)
    family, _, rest = path.stem.partition("-")
    if family == "mmdet":
        return f"mmdet_{rest.partition('_')[0].replace('-', '_')}_{backbone}"
    return f"{next(kind for part, kind in KINDS.items() if rest.startswith(part))}_{backbone}"


@pytest.mark.skipif(not LISTS.is_dir(), reason="the lists of published keys are not here")
@pytest.mark.parametrize("path", sorted(LISTS.glob("*.tsv")), ids=lambda path: path.stem)
def test_every_published_key_is_one_of_ours_with_its_shape(path: Path) -> None:
    name = name_of(path)
    with torch.device("meta"):
        ours = {
            key: "x".join(map(str, value.shape)) for key, value in Detector(DETECTORS[name], 80).state_dict().items()
        }
    rules = key_names.MMDET if name.startswith("mmdet") else key_names.DETECTRON2
    rows = (line.partition("\t") for line in path.read_text(encoding="utf-8").splitlines())
    renamed = [(key_names.translated(key, rules, pooled_shortcut="resnest" in name), shape) for key, _, shape in rows]
    theirs = {key: shape for key, shape in renamed if key is not None}
    assert len(theirs) == sum(key is not None for key, _ in renamed)
    frozen = {
        key for key in ours.keys() - theirs.keys() if key.endswith("num_batches_tracked")
    }  # see `FrozenBatchNorm`
    assert theirs == {key: shape for key, shape in ours.items() if key not in frozen}
    assert len(frozen) == (0 if name.startswith("mmdet") else 16 if "resnest" in name else 11)
