"""Published detectors of every layout become weights, and other files are refused."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from service.models import cards
from service.models.cards import KeyProfile, ModelCard, Network, Source
from service.models.weights import convert, store
from service.models.weights.checksums import IncompatibleWeightsError, WeightsError
from service.models.weights.importing import ImportSpec, import_checkpoint
from service.tasks.detection.task import DETECTION
from tests.models.weights.checkpoints import State, made_state, pth
from tests.models.weights.conftest import HASTY, unseen
from tests.models.weights.detector_layouts import mmdet
from tests.stores import write_store

NAME = "starter_mask_rcnn_resnest14"


@pytest.fixture(scope="module")
def weights() -> State:
    return made_state(NAME, 2)


def converted(state: Any, profile: KeyProfile, folder: Path) -> State:
    (folder / "file.pth").write_bytes(pth(state))
    convert.convert(folder / "file.pth", Network(name=NAME, classes=2), profile, folder / "ours.safetensors")
    found: State = safetensors.torch.load_file(folder / "ours.safetensors")
    return found


def test_openmmlabs_layout_is_read(weights: State, tmp_path: Path) -> None:
    found = converted({"meta": {"epoch": 12}, "state_dict": mmdet(weights)}, "mmdet", tmp_path)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], value) for key, value in weights.items())


def test_a_wrong_layout_is_answered_with_the_right_one(weights: State, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleWeightsError, match="with --keys mmdet they fit"):
        converted(mmdet(weights), "official", tmp_path)


@pytest.mark.parametrize("keys", ["official", "mmdet", "detectron2"])
def test_a_backbone_is_no_detector(keys: KeyProfile, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleWeightsError, match="it is not a detector: it has no heads"):
        converted(made_state("resnest14", 1000), keys, tmp_path)


def card_of(folder: Path, source: Source) -> ModelCard:
    card = cards.read(write_store(folder, "tiny-detector", weights=False) / "tiny-detector")
    weights = card.weights.model_copy(update={"file": "weights/d.safetensors", "sha256": None, "sources": (source,)})
    return card.model_copy(update={"weights": weights})


@pytest.mark.parametrize("kind", ["sha256", "sha1"])
def test_first_digits_of_either_kind_are_accepted_and_recorded(kind: str, weights: State, tmp_path: Path) -> None:
    data = pth(mmdet(weights))
    digits = hashlib.new(kind, data).hexdigest()[:8]
    card = card_of(tmp_path / "store", Source(urls=("https://example.org/d.pth",), digest=digits, profile="mmdet"))
    file = tmp_path / "any.pth"
    file.write_bytes(data)
    store.pull_from_file(card, file, unseen)
    assert f"(its {kind} begins with {digits})" in card.checksum_path.read_text(encoding="utf-8")
    assert store.state(card) == "ready"


def test_digits_of_another_file_are_refused(weights: State, tmp_path: Path) -> None:
    card = card_of(tmp_path / "store", Source(urls=("https://example.org/d.pth",), digest="0" * 8, profile="mmdet"))
    (tmp_path / "any.pth").write_bytes(pth(mmdet(weights)))
    with pytest.raises(WeightsError, match="not one of its published files, whose checksums are 00000000"):
        store.pull_from_file(card, tmp_path / "any.pth", unseen)


@pytest.fixture
def unverified(tmp_path: Path) -> ModelCard:
    source = Source(urls=("https://example.org/tricks_3x.pth",), without_checksum=True, profile="mmdet")
    return card_of(tmp_path / "store", source)


def test_a_file_without_a_checksum_is_not_pulled(unverified: ModelCard) -> None:
    with pytest.raises(WeightsError, match="publish no checksum"):
        store.pull(unverified, HASTY, unseen, unseen)


def test_a_file_without_a_checksum_is_known_by_its_name(unverified: ModelCard, weights: State, tmp_path: Path) -> None:
    data = pth(mmdet(weights))
    for name in ("other.pth", "tricks_3x.pth"):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=r"whose name is tricks_3x\.pth"):
        store.pull_from_file(unverified, tmp_path / "other.pth", unseen)
    store.pull_from_file(unverified, tmp_path / "tricks_3x.pth", unseen)
    record = unverified.checksum_path.read_text(encoding="utf-8")
    assert f"no checksum is published; its sha256 is {hashlib.sha256(data).hexdigest()}" in record


@pytest.mark.parametrize("fields", [{}, {"digest": "1" * 8, "without_checksum": True}])
def test_a_source_has_a_checksum_or_says_that_there_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="without_checksum"):
        Source(urls=("https://example.org/d.pth",), **fields)


def test_an_imported_detector_is_served_image_by_image_with_a_long_deadline(weights: State, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "labels.txt").write_text("cat\ndog\n", encoding="utf-8")
    (tmp_path / "my.pth").write_bytes(pth({"state_dict": mmdet(weights)}))
    spec = ImportSpec(
        name="mine",
        network=NAME,
        labels=str(tmp_path / "labels.txt"),
        task=DETECTION.name,
        input=DETECTION.imported_input(NAME),
        serving=DETECTION.imported_serving,
        has_colours=DETECTION.has_colours,
        profile="mmdet",
    )
    folder = import_checkpoint(tmp_path / "store", spec, tmp_path / "my.pth").folder
    card = cards.read(folder)
    assert (card.task, card.serving.batch_size, card.serving.deadline_s) == ("detection", 1, 120)
    assert (card.input.size, card.input.short) == (1333, 800)
    assert [label.hex_color for label in card.classes] == ["#800000", "#008000"]
