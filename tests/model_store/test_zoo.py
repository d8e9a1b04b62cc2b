"""The cards of the published models: their checksums, networks, labels, inputs and documentation."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from service import networks
from service.models import cards, zoo
from service.models.cards import ModelCard, Network
from service.models.weights import key_names
from service.networks import timm_networks
from tests.models.weights.checkpoints import mmseg, openmmlab
from tests.models.weights.detector_layouts import detectron2, mmdet
from tests.networks import timm_alone

ROOT = Path(__file__).parents[2]
STORE = ROOT / "model_store"
LISTS = ROOT.parent / "shared" / "data" / "keys"

ZOO = {name: card for name, card in zoo.read_zoo(STORE).items() if card.weights.sources}
DEPTHS = (50, 101, 200, 269)
FAST = ("1s1x64d", "2s1x64d", "4s1x64d", "1s2x40d", "2s2x40d", "4s2x40d", "1s4x24d")
OFFICIAL = [*(f"resnest{depth}" for depth in DEPTHS), *(f"resnest50_fast_{shape}" for shape in FAST)]
SEGMENTERS = [
    f"{model}_{data}"
    for data in ("ade", "pcontext")
    for model in ("fcn_resnest50", *(f"deeplab_resnest{depth}" for depth in DEPTHS))
]
BASELINES = [
    *((head, trunk) for head in ("psp", "deeplab") for trunk in ("resnet50c", "resnet101c")),
    *((head, "resnet101c") for head in ("uper", "enc")),
]
MMSEG = [
    f"mmseg_{head}_resnest101_{data}"
    for data in ("cityscapes", "ade")
    for head in ("fcn", "psp", "deeplab", "deeplabplus")
]
# OpenMMLab's baselines of the paper's Table 7. DANet and PSANet would need gigabytes for a street scene.
MMSEG += [f"mmseg_{head}_{trunk}_{data}" for data in ("cityscapes", "ade") for head, trunk in BASELINES]
MMSEG += ["mmseg_da_resnet101c_ade", "mmseg_psa_resnet101c_ade"]
LISTED = [*OFFICIAL, "resnest14", "resnest26", *SEGMENTERS[:7]]  # the others differ from ADE20K's in two shapes
KINDS = ("faster", "mask", "cascade", "cascade_mask")
BACKBONES = ("resnet50", "resnet101", "resnest50", "resnest101")
DETECTORS = [
    *(f"{family}{kind}_rcnn_{backbone}" for family in ("", "mmdet_") for kind in KINDS for backbone in BACKBONES),
    *("cascade_rcnn_resnest200", "cascade_mask_rcnn_resnest200"),
]
PEERS = ("resnet50", "resnet101", "resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnet50d", "resnet101d")
# The input side of each classifier's published score; the default is 224.
SIDES = {
    **{"resnest101": 256, "resnest200": 320, "resnest269": 416, "resnet50d_ra2": 288, "resnet101d_ra2": 320},
    **{"resnetrs101": 288, "resnetrs152": 320, "resnetrs200": 320},
    **{"resnetrs270": 352, "resnetrs350": 384, "resnetrs420": 416},
}
OF_TIMM = (
    *("seresnet50", "seresnet101", "senet154", "skresnext50_32x4d"),
    *(f"resnetrs{depth}" for depth in (50, 101, 152, 200, 270, 350, 420)),
)


@cache
def network(spec: Network) -> dict[str, torch.Size]:
    """Return the keys and shapes of the network, built on the meta device."""
    with torch.device("meta"):
        module = of_timm(spec) if spec.library == "timm" else networks.build(**spec.arguments())
    assert sum(each.numel() for each in module.parameters()) == sum(
        value.numel() for key, value in module.state_dict().items() if not re.search(r"running_|num_batches", key)
    )
    return {key: value.shape for key, value in module.state_dict().items()}


def built(card: ModelCard) -> dict[str, torch.Size]:
    return network(card.network)


def of_timm(spec: Network) -> torch.nn.Module:
    timm_alone.load()
    return timm_networks.build(spec.name, spec.classes)


def test_every_published_model_has_a_card() -> None:
    wanted = {*OFFICIAL, "resnest14", "resnest26", *SEGMENTERS, *MMSEG, *DETECTORS, *PEERS, *OF_TIMM}
    assert wanted - ZOO.keys() == set()
    assert (len(OFFICIAL), len(SEGMENTERS)) == (11, 10)


@pytest.mark.parametrize("name", ZOO)
def test_a_card_is_in_the_folder_of_its_name_and_whole(name: str) -> None:
    card = cards.read(STORE / name)
    assert card.name == name
    assert card.weights.file == f"weights/{name}.safetensors"
    assert card.licence in {"Apache-2.0", "MIT", "BSD-3-Clause"}
    assert card.published["protocol"].endswith("validation.") or "measured by timm" in card.published["protocol"]


@pytest.mark.parametrize("name", ZOO)
def test_the_network_of_a_card_has_the_parameters_it_states(name: str) -> None:
    shapes = built(ZOO[name])
    learnt = (shape.numel() for key, shape in shapes.items() if not re.search(r"running_|num_batches", key))
    assert sum(learnt) == ZOO[name].network.parameters


@pytest.mark.parametrize("name", LISTED)
def test_the_network_of_a_card_has_the_keys_of_the_released_file(name: str) -> None:
    path = LISTS / f"{name}.tsv"
    if not path.exists():
        pytest.skip(f"the key list of {name} is not available")
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    listed = {key: torch.Size(int(side) for side in shape.split("x") if side) for key, shape in rows}
    assert built(ZOO[name]) == listed


def sources() -> Iterator[Any]:
    for name, card in ZOO.items():
        yield from (pytest.param(source, id=f"{name}-{number}") for number, source in enumerate(card.weights.sources))


@pytest.mark.parametrize("source", list(sources()))
def test_an_address_names_the_checksum_that_its_card_states(source: cards.Source) -> None:
    """The authors put the checksum into the file name, so a typing error in a card is found."""
    if source.without_checksum:
        assert not re.search(r"-[0-9a-f]{8}\.pth$", source.urls[0])
        return
    stated = str(source.checksum)[:8]
    for url in source.urls:
        assert url.startswith("https://")
        assert url.rpartition("-")[2] in {f"{stated}.pth", f"{stated}.zip"}
    assert all(url.endswith(".zip") == (source.sha1 is not None) for url in source.urls)


WRITTEN = {
    **{"openmmlab": openmmlab, "mmseg": mmseg, "mmdet": mmdet},
    **{"detectron2": detectron2, "detectron2_bgr": detectron2},
}


@pytest.mark.parametrize("source", list(sources()))
def test_the_keys_of_a_published_layout_become_those_of_the_cards_network(
    source: cards.Source, request: pytest.FixtureRequest
) -> None:
    """The inverse translations are in the tests of weights."""
    name = request.node.callspec.id.rpartition("-")[0]
    ours = dict.fromkeys(built(ZOO[name]), torch.empty(0))
    theirs = WRITTEN.get(source.profile, dict)(ours)
    found = key_names.translated(theirs, source.profile).values()
    assert sorted(key for key in found if "cell_anchors" not in key) == sorted(ours)


def test_no_two_models_are_the_same_file() -> None:
    stated = [source.checksum or source.urls for card in ZOO.values() for source in card.weights.sources]
    assert len(stated) == len(set(stated))


def test_no_address_is_of_a_bucket_that_its_owner_gave_up() -> None:
    """Anyone can register the name of such a bucket, and eight digits of a checksum can be forged."""
    given_up = [
        url for card in ZOO.values() for source in card.weights.sources for url in source.urls if "hangzh" in url
    ]
    assert given_up == []


@pytest.mark.parametrize("name", [name for name, card in ZOO.items() if card.task == "classification"])
def test_a_classifier_sees_pictures_as_where_its_score_was_measured(name: str) -> None:
    card = ZOO[name]
    assert card.input.size == card.published["crop"] == SIDES.get(name, 224)
    assert card.input.profile == ("official" if name in OFFICIAL else "timm")
    assert card.labels.set == "imagenet1k"
    assert 75 < card.published["top1"] < 86


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenter_sees_pictures_as_the_authors_evaluation_does_at_scale_1(name: str) -> None:
    card = ZOO[name]
    assert (card.input.profile, card.input.size, card.network.output_stride) == ("proportional", 520, 8)
    assert card.labels.set == {"ade": "ade20k_150", "pcontext": "pascal_context_59"}[name.rpartition("_")[2]]
    assert card.weights.sources[0].profile == "encoding"
    assert 40 < card.published["miou"] < card.published["pixel_accuracy"] < 85


# Long side, output stride and multiple of the input, where they are not the usual ones. DANet's attention between all
# pixels limits the side, PSANet halves its map.
BOXES = {"da": (1024, 8, 8), "uper": (2048, 32, 32), "psa": (2048, 8, 16)}


@pytest.mark.parametrize("name", MMSEG)
def test_a_segmenter_of_mmsegmentations_sees_the_whole_picture_within_the_box_of_its_test(name: str) -> None:
    card, data = ZOO[name], name.rpartition("_")[2]
    size, stride, multiple = BOXES.get(name.split("_")[1], (2048, 8, 8))
    assert (card.input.profile, card.input.size, card.network.output_stride) == ("proportional", size, stride)
    assert card.input.multiple == multiple
    assert card.input.short == {"ade": 512, "cityscapes": 1024}[data]
    assert card.labels.set == {"ade": "ade20k_150", "cityscapes": "cityscapes_19"}[data]
    (source,) = card.weights.sources
    (url,) = source.urls
    assert source.profile == "mmseg"
    folder, file = url.split("/")[-2:]
    assert file.startswith(f"{folder}_2020")
    assert {"ade": 42, "cityscapes": 77}[data] < card.published["miou"] < card.published["multiscale"]["miou"] < 82


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_sees_pictures_as_its_family_does(name: str) -> None:
    card = ZOO[name]
    own, plain = not name.startswith("mmdet_"), "_resnet" in name
    assert (card.input.profile, card.input.size, card.input.short) == ("proportional", 1333, 800)
    assert card.input.interpolation == ("bilinear" if own else "opencv_linear")
    assert card.input.resizer == ("pillow" if own else "simd")
    assert (card.labels.set, card.serving.batch_size, card.network.proposals) == ("coco_80", 1, None)
    # In units of 0 to 255: the means of ImageNet for plain networks, those of Caffe for ResNeSt.
    mean = (123.675, 116.28, 103.53) if plain else (123.68, 116.779, 103.939)
    std = (1, 1, 1) if plain and own else (58.395 if plain else 58.393, 57.12, 57.375)
    assert [255 * each for each in card.input.mean] == pytest.approx(mean, abs=1e-6)
    assert [255 * each for each in card.input.std] == pytest.approx(std, abs=1e-6)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_has_the_published_ap_and_key_layout(name: str) -> None:
    card = ZOO[name]
    (source,) = card.weights.sources
    own = "detectron2_bgr" if "_resnet" in name else "detectron2"
    assert source.profile == ("mmdet" if name.startswith("mmdet_") else own)
    assert 37 < card.published["box_ap"] < 51
    assert ("mask_ap" in card.published) is ("mask_rcnn" in name)
    assert card.published.get("mask_ap", 34) > 33


def test_models_whose_weights_are_not_here_are_not_served() -> None:
    absent = {name for name, card in ZOO.items() if not card.checksum_path.exists()}
    assert absent & zoo.read_all(STORE).keys() == set()


def main_score(card: ModelCard) -> str:
    """Return the score of a card as the documentation has it. OpenMMLab publishes AP with one digit."""
    score = next(card.published[name] for name in ("top1", "miou", "box_ap") if name in card.published)
    return f"{score:.1f}" if card.name.startswith("mmdet_") else f"{score:.2f}"


def test_the_documentation_names_every_published_model_and_its_score() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    scores = {name: main_score(card) for name, card in ZOO.items()}
    assert [name for name in ZOO if f"`{name}`" not in text] == []
    assert [f"{name} {score}" for name, score in scores.items() if score not in text] == []


def test_the_documentation_names_no_model_that_is_not_there() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    tables = text.partition("## The paper's tables")[2]
    detectors = r"(?:mmdet_)?(?:cascade_|faster_|mask_)+rcnn_"
    names = rf"`((?:(?:se|sk)?resn|senet|fcn_|deeplab_|mmseg_|{detectors})\w+)`"
    assert set(re.findall(names, tables)) == set(ZOO)
