"""The order of a store's models: the default of a task stays until the model is removed."""

import shutil
from pathlib import Path

import pytest

from service.models import model_order, zoo
from service.models.cards import CardError
from tests.stores import write_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", "tiny-classifier", "tiny-segmenter", weights=False)


def add(store: Path, name: str) -> None:
    """Copy the classifier as another model, as a user may do by hand."""
    folder = store / name
    shutil.copytree(store / "tiny-classifier", folder)
    card = folder / "card.toml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace('name = "tiny-classifier"', f'name = "{name}"'), encoding="utf-8")


def names(store: Path) -> list[str]:
    """Return the names of the classifiers in their order."""
    cards = model_order.ordered(zoo.read_all(store).values(), store)
    return [card.name for card in cards if card.task == "classification"]


def test_a_store_without_the_file_is_ordered_by_name(store: Path) -> None:
    add(store, "aardvark")

    assert names(store) == ["aardvark", "tiny-classifier"]
    assert model_order.read(store) == {}


def test_a_model_that_is_added_later_is_later_whatever_its_name(store: Path) -> None:
    assert model_order.record(store) == []
    add(store, "zebra")
    model_order.record(store)
    add(store, "aardvark")

    before = names(store)
    assert model_order.record(store) == []

    assert before == names(store) == ["tiny-classifier", "zebra", "aardvark"]
    assert model_order.read(store)["classification"] == ("tiny-classifier", "zebra", "aardvark")


def test_only_the_removal_of_the_first_model_changes_the_default_and_is_reported(store: Path) -> None:
    model_order.record(store)
    add(store, "aardvark")
    add(store, "zebra")
    model_order.record(store)

    shutil.rmtree(store / "zebra")
    assert model_order.record(store) == []
    shutil.rmtree(store / "tiny-classifier")
    shutil.rmtree(store / "tiny-segmenter")

    assert model_order.record(store) == [
        "default of classification: tiny-classifier -> aardvark",
        "default of segmentation: tiny-segmenter -> none",
    ]
    assert model_order.read(store) == {"classification": ("aardvark",)}


def test_a_model_that_comes_back_after_its_removal_is_the_last(store: Path) -> None:
    add(store, "zebra")
    model_order.record(store)
    moved = shutil.move(store / "tiny-classifier", store.parent)
    model_order.record(store)
    shutil.move(moved, store)
    model_order.record(store)

    assert model_order.read(store)["classification"] == ("zebra", "tiny-classifier")


def test_a_card_that_cannot_be_read_for_a_while_keeps_its_place(store: Path) -> None:
    add(store, "zebra")
    model_order.record(store)
    card = store / "tiny-classifier" / "card.toml"
    text = card.read_text(encoding="utf-8")

    card.write_text("name =", encoding="utf-8")
    assert model_order.record(store) == []
    assert names(store)[0] == "zebra"
    card.write_text(text, encoding="utf-8")

    assert names(store)[0] == "tiny-classifier"


def test_another_version_has_the_place_of_its_name(store: Path) -> None:
    model_order.record(store)
    add(store, "aardvark")
    shutil.copytree(store / "tiny-classifier", store / "tiny-classifier@2.0")
    card = store / "tiny-classifier@2.0" / "card.toml"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace('version = "1.0"', 'version = "2.0"'), encoding="utf-8")
    model_order.record(store)
    shutil.rmtree(store / "tiny-classifier")

    assert model_order.record(store) == []
    assert names(store) == ["tiny-classifier", "aardvark"]


def test_models_without_weights_and_those_that_must_be_named_have_no_place(tmp_path: Path) -> None:
    store = write_store(tmp_path, "tiny-classifier", weights=False, changes={"serving": {"by_default": False}})

    model_order.record(store)

    assert model_order.read(store) == {}


def test_a_store_that_cannot_be_written_is_ordered_all_the_same(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("service.models.atomic_write.write", refuse)

    assert model_order.record(store) == []
    assert names(store) == ["tiny-classifier"]


def test_the_file_can_be_read_by_another_user(store: Path) -> None:
    model_order.record(store)

    assert (store / model_order.FILE).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("classification = [", "cannot be read"),
        ('classification = "mine"', "not a list of model names"),
        ("classification = [1]", "not a list of model names"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_way_out(store: Path, content: str, reason: str) -> None:
    (store / model_order.FILE).write_text(content, encoding="utf-8")

    for use in (names, model_order.record):
        with pytest.raises(CardError, match=rf"model_order\.toml.*{reason}.*; correct or delete it"):
            use(store)
