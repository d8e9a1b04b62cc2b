"""Translation of the keys of published checkpoints to those of our networks."""

from pathlib import Path

import pytest

from service.models.cards import KeyProfile
from service.models.weights.checksums import WeightsError
from service.models.weights.key_names import translated, without_wrappers

LISTS = Path(__file__).parents[4] / "shared" / "data" / "keys"
OFFICIAL = ("conv1.0.weight", "conv1.6.weight", "bn1.bias", "layer1.0.conv2.bn0.weight", "layer4.2.bn1.bias", "fc.bias")


@pytest.mark.parametrize("profile", ["official", "timm", "encoding"])
def test_the_published_layouts_of_the_authors_are_ours(profile: KeyProfile) -> None:
    keys = [*OFFICIAL, "pretrained.conv1.0.weight", "head.block.4.bias", "auxlayer.conv5.0.weight"]
    assert translated(keys, profile) == {key: key for key in keys}


def test_openmmlabs_layout_is_translated() -> None:
    theirs = (
        "backbone.stem.0.weight",
        "backbone.stem.6.weight",
        "backbone.stem.7.bias",
        "backbone.layer1.0.conv2.bn0.weight",
        "backbone.layer4.2.bn1.bias",
        "head.fc.bias",
    )
    assert translated(theirs, "openmmlab") == dict(zip(theirs, OFFICIAL, strict=True))


def test_the_layout_of_openmmlabs_segmenters_is_translated() -> None:
    theirs = {
        "backbone.stem.0.weight": "pretrained.conv1.0.weight",
        "backbone.stem.7.num_batches_tracked": "pretrained.bn1.num_batches_tracked",
        "backbone.layer4.2.conv2.fc1.bias": "pretrained.layer4.2.conv2.fc1.bias",
        "decode_head.conv_seg.weight": "head.conv_seg.weight",
        "decode_head.aspp_modules.1.depthwise_conv.bn.bias": "head.aspp_modules.1.depthwise_conv.bn.bias",
        "auxiliary_head.convs.0.conv.weight": "auxlayer.convs.0.conv.weight",
    }
    assert translated(theirs, "mmseg") == theirs


def test_names_that_wrappers_of_modules_insert_are_taken_away_at_any_place() -> None:
    assert without_wrappers("_orig_mod.layer1._checkpoint_wrapped_module.0.bn1.bias") == "layer1.0.bn1.bias"


def test_two_keys_that_mean_the_same_weight_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"mean the same weight: bn1\.bias$"):
        translated(["bn1.bias", "backbone.stem.7.bias", "fc.bias"], "openmmlab")


def test_a_checkpoint_without_keys_has_none() -> None:
    assert translated([], "official") == {}


@pytest.mark.parametrize("name", ["resnest50", "resnest101", "resnest200"])
def test_every_key_of_a_released_network_has_its_place_in_openmmlabs_layout(name: str) -> None:
    path = LISTS / f"{name}.tsv"
    if not path.exists():
        pytest.skip(f"the key list of {name} is not available")
    ours = [line.partition("\t")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    theirs = [_openmmlab(key) for key in ours]
    assert list(translated(theirs, "openmmlab").values()) == ours


def _openmmlab(key: str) -> str:
    """Return OpenMMLab's key for one of ours: the inverse, written after the table of OpenMMLab's converter."""
    for prefix, place in (("conv1.", "backbone.stem."), ("bn1.", "backbone.stem.7."), ("fc.", "head.fc.")):
        if key.startswith(prefix):
            return place + key.removeprefix(prefix)
    return f"backbone.{key}"


def test_the_layouts_of_detectors_are_translated() -> None:
    theirs: dict[KeyProfile, dict[str, str]] = {
        "mmdet": {
            "backbone.stem.7.bias": "trunk.backbone.bn1.bias",
            "roi_head.bbox_head.1.shared_convs.0.bn.bias": "box_heads.1.convs.0.bn.bias",
        },
        "detectron2": {
            "backbone.bottom_up.res2.0.shortcut.weight": "trunk.backbone.layer1.0.downsample.1.weight",
            "proposal_generator.anchor_generator.cell_anchors.0": "proposal_generator.anchor_generator.cell_anchors.0",
        },
        "detectron2_bgr": {"backbone.bottom_up.res2.0.shortcut.weight": "trunk.backbone.layer1.0.downsample.0.weight"},
    }
    for profile, keys in theirs.items():
        assert translated(keys, profile) == keys
