"""The shared label sets: their classes in the order of the checkpoints, and their colours."""

import re
from pathlib import Path

import pytest

from service.models import cards
from service.models.labels import Label

STORE = Path(__file__).parents[2] / "model_store"


def label_set(name: str) -> tuple[Label, ...]:
    """Return the labels of a set, read as for a card."""
    card = cards.parse(STORE / "starter-classifier")
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


def test_cocos_classes_have_the_ids_of_its_annotations() -> None:
    ids = [label.category_id for label in label_set("coco_80")]
    assert (ids[0], ids[15], ids[79]) == (1, 17, 90)
    assert None not in ids
    assert ids == sorted(set(ids))  # type: ignore[type-var]
