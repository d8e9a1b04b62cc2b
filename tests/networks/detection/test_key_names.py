"""The keys and shapes of every published checkpoint, as instantiated by the published code, against our networks."""

import hashlib
from pathlib import Path

import pytest
import torch

from service.models import cards
from service.networks.detection import key_names
from service.networks.detection.detector import Detector
from service.networks.detection.spec import DETECTORS

LISTS = Path(__file__).parents[4] / "shared" / "data" / "detection-keys"
PATHS = sorted(LISTS.glob("*.tsv"))
needs_lists = pytest.mark.skipif(not PATHS, reason="the lists of published keys are not here")
DIGESTS = Path(__file__).with_name("published_keys.tsv")
STORE = Path(__file__).parents[3] / "model_store"
LAST_BLOCK = ".layer3.5."  # of ResNet-50
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


def ours(name: str) -> dict[str, str]:
    """Return the keys of our network of a name, with their shapes."""
    with torch.device("meta"):
        network = Detector(DETECTORS[name], 80)
    return {key: "x".join(map(str, value.shape)) for key, value in network.state_dict().items()}


def published(path: Path, name: str) -> dict[str, str]:
    """Return the keys of a published checkpoint as ours are named, with their shapes."""
    rules = key_names.MMDET if name.startswith("mmdet") else key_names.DETECTRON2
    rows = [line.partition("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    renamed = [(key_names.translated(key, rules, pooled_shortcut="resnest" in name), shape) for key, _, shape in rows]
    theirs = {key: shape for key, shape in renamed if key is not None}
    assert len(theirs) == sum(key is not None for key, _ in renamed)
    return theirs


def deeper(keys: dict[str, str]) -> dict[str, str]:
    """Return the keys of a detector on ResNet-101, given those on ResNet-50: it has 23 blocks in stage 3, not 6."""
    last = {key: shape for key, shape in keys.items() if LAST_BLOCK in key}
    more = {
        key.replace(LAST_BLOCK, f".layer3.{index}."): shape for index in range(6, 23) for key, shape in last.items()
    }
    return keys | more


def digest(keys: dict[str, str]) -> str:
    """Return the SHA-256 of the sorted keys and shapes, without the counters that `FrozenBatchNorm` does not have."""
    lines = (f"{key}\t{shape}\n" for key, shape in sorted(keys.items()) if not key.endswith("num_batches_tracked"))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digests() -> dict[str, str]:
    """Return the digests of the published lists, by our names of their networks."""
    rows = (line.partition("\t") for line in DIGESTS.read_text(encoding="utf-8").splitlines()[1:])
    return {name: found for name, _, found in rows}


@needs_lists
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_published_key_is_one_of_ours_with_its_shape(path: Path) -> None:
    name = name_of(path)
    own, theirs = ours(name), published(path, name)
    frozen = {key for key in own.keys() - theirs.keys() if key.endswith("num_batches_tracked")}  # see `FrozenBatchNorm`
    assert theirs == {key: shape for key, shape in own.items() if key not in frozen}
    assert len(frozen) == (0 if name.startswith("mmdet") else 16 if "resnest" in name else 11)


@needs_lists
def test_the_digests_are_those_of_the_published_lists() -> None:
    lists = {name_of(path): published(path, name_of(path)) for path in PATHS}
    longer = {
        name.replace("resnet50", "resnet101"): deeper(keys)
        for name, keys in lists.items()
        if name.startswith("mmdet") and name.endswith("resnet50")
    }
    assert len(longer) == 4
    assert digests() == {name: digest(keys) for name, keys in {**lists, **longer}.items()}


def test_every_published_detector_of_the_store_has_a_digest() -> None:
    named = {cards.read(path.parent).network.name for path in STORE.glob("*rcnn*/card.toml")}
    assert digests().keys() == named


@pytest.mark.parametrize("name", sorted(digests()))
def test_the_keys_and_shapes_are_those_of_the_published_checkpoint(name: str) -> None:
    assert digest(ours(name)) == digests()[name]
