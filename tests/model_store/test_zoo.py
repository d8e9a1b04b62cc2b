"""The cards of the published models: their checksums, networks, labels, inputs and documentation."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from service import networks
from service.models import cards
from service.models.cards import ModelCard, Network
from service.models.labels import Label
from service.models.weights import key_names
from service.networks import timm_networks
from tests.models.weights.checkpoints import mmseg, openmmlab
from tests.networks import timm_alone

ROOT = Path(__file__).parents[2]
STORE = ROOT / "model_store"
LISTS = ROOT.parent / "shared" / "data" / "keys"

ZOO = {name: card for name, card in cards.read_zoo(STORE).items() if card.weights.sources}
DEPTHS = (50, 101, 200, 269)
FAST = ("1s1x64d", "2s1x64d", "4s1x64d", "1s2x40d", "2s2x40d", "4s2x40d", "1s4x24d")
OFFICIAL = [*(f"resnest{depth}" for depth in DEPTHS), *(f"resnest50_fast_{shape}" for shape in FAST)]
SEGMENTERS = [
    f"{model}_{data}"
    for data in ("ade", "pcontext")
    for model in ("fcn_resnest50", *(f"deeplab_resnest{depth}" for depth in DEPTHS))
]
MMSEG = [
    f"mmseg_{head}_resnest101_{data}"
    for data in ("cityscapes", "ade")
    for head in ("fcn", "psp", "deeplab", "deeplabplus")
]
LISTED = [*OFFICIAL, "resnest14", "resnest26", *SEGMENTERS[:7]]  # the others differ from ADE20K's in two shapes
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
    wanted = {*OFFICIAL, "resnest14", "resnest26", *SEGMENTERS, *MMSEG, *PEERS, *OF_TIMM}
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
    stated = (source.sha256 or str(source.sha1))[:8]
    for url in source.urls:
        assert url.startswith("https://")
        assert url.rpartition("-")[2] in {f"{stated}.pth", f"{stated}.zip"}
    assert all(url.endswith(".zip") == (source.sha1 is not None) for url in source.urls)


WRITTEN = {"openmmlab": openmmlab, "mmseg": mmseg}


@pytest.mark.parametrize("source", list(sources()))
def test_the_keys_of_a_published_layout_become_those_of_the_cards_network(
    source: cards.Source, request: pytest.FixtureRequest
) -> None:
    """The inverse translations are in the tests of weights."""
    name = request.node.callspec.id.rpartition("-")[0]
    ours = dict.fromkeys(built(ZOO[name]), torch.empty(0))
    theirs = WRITTEN.get(source.profile, dict)(ours)
    assert sorted(key_names.translated(theirs, source.profile).values()) == sorted(ours)


def test_no_two_models_are_the_same_file() -> None:
    stated = [source.sha256 or source.sha1 for card in ZOO.values() for source in card.weights.sources]
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


@pytest.mark.parametrize("name", MMSEG)
def test_a_segmenter_of_mmsegmentations_sees_the_whole_picture_within_the_box_of_its_test(name: str) -> None:
    card, data = ZOO[name], name.rpartition("_")[2]
    assert (card.input.profile, card.input.size, card.network.output_stride) == ("proportional", 2048, 8)
    assert card.input.short == {"ade": 512, "cityscapes": 1024}[data]
    assert card.labels.set == {"ade": "ade20k_150", "cityscapes": "cityscapes_19"}[data]
    (source,) = card.weights.sources
    (url,) = source.urls
    assert source.profile == "mmseg"
    folder, file = url.split("/")[-2:]
    assert file.startswith(f"{folder}_2020")
    assert {"ade": 45, "cityscapes": 77}[data] < card.published["miou"] < card.published["multiscale"]["miou"] < 81


def label_set(name: str) -> tuple[Label, ...]:
    """Return the labels of a set, read as for a card."""
    card = next(iter(ZOO.values()))
    count = len((STORE / "labels" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()) - 1
    changed = {
        "labels": cards.Labels(set=name),
        "network": card.network.model_copy(update={"classes": count}),
        "folder": STORE / "any",
    }
    return card.model_copy(update=changed).classes


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("imagenet1k", 1000, {0: "tench", 281: "tabby", 999: "toilet tissue"}),
        ("ade20k_150", 150, {0: "wall", 12: "person", 149: "flag"}),
        ("cityscapes_19", 19, {0: "road", 11: "person", 18: "bicycle"}),
        ("voc_21", 21, {0: "background", 15: "person", 20: "tvmonitor"}),
        ("coco_80", 80, {0: "person", 79: "toothbrush"}),
        ("pascal_context_59", 59, {0: "aeroplane", 36: "person", 58: "wood"}),
    ],
)
def test_a_label_set_has_every_class_in_its_place(name: str, count: int, some: dict[int, str]) -> None:
    labels = label_set(name)
    assert len(labels) == count
    assert {index: labels[index].label for index in some} == some


def test_imagenets_classes_are_in_the_order_of_their_wordnet_ids() -> None:
    ids = [label.wnid or "" for label in label_set("imagenet1k")]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"n\d{8}", each) for each in ids)


def test_pascal_contexts_classes_are_in_the_order_of_the_checkpoints() -> None:
    """PyTorch-Encoding orders by the id among the 459 classes. Others put the classes of Pascal VOC first."""
    rows = [
        row.split("\t") for row in (STORE / "labels" / "pascal_context_59.tsv").read_text(encoding="utf-8").split("\n")
    ]
    ids = [int(row[3]) for row in rows[1:] if len(row) > 1]
    assert ids == sorted(set(ids))
    assert [label.label for label in label_set("pascal_context_59")][48:50] == ["sofa", "diningtable"]


@pytest.mark.parametrize("name", ["cityscapes_19", "voc_21", "coco_80", "pascal_context_59"])
def test_every_class_of_a_mask_has_a_colour_of_its_own(name: str) -> None:
    labels = label_set(name)
    assert len({label.color for label in labels}) == len(labels)


def test_pascal_context_shows_pascal_vocs_classes_in_pascal_vocs_colours() -> None:
    voc = {label.label: label.color for label in label_set("voc_21")[1:]}
    context = {label.label: label.color for label in label_set("pascal_context_59")}
    assert {name: context[name] for name in voc} == voc


def test_ade20ks_colours_are_the_published_ones_of_which_few_are_alike() -> None:
    colours = [label.hex_color for label in label_set("ade20k_150")]
    assert (colours[0], colours[2], colours[149]) == ("#787878", "#06e6e6", "#5c00ff")
    assert len(set(colours)) > 140


def test_models_whose_weights_are_not_here_are_not_served() -> None:
    absent = {name for name, card in ZOO.items() if not card.checksum_path.exists()}
    assert absent & cards.read_all(STORE).keys() == set()


def test_the_documentation_names_every_published_model_and_its_score() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    scores = {name: f"{card.published.get('top1', card.published.get('miou')):.2f}" for name, card in ZOO.items()}
    assert [name for name in ZOO if f"`{name}`" not in text] == []
    assert [f"{name} {score}" for name, score in scores.items() if score not in text] == []


def test_the_documentation_names_no_model_that_is_not_there() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    tables = text.partition("## The paper's tables")[2]
    assert set(re.findall(r"`((?:(?:se|sk)?resn|senet|fcn_|deeplab_|mmseg_)\w+)`", tables)) == set(ZOO)
