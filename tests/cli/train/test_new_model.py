"""A new model is in the store as a whole or not at all, and replaces only what `train` made."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from service.cli.train import new_model
from service.cli.train.new_model import NewModel
from service.models import cards, zoo
from service.models.cards import CardError, ModelCard
from service.models.weights import checkpoint, store
from tests.stores import write_store

LABELS = ("one", "two")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return write_store(tmp_path, "tiny-classifier")


def base(shelf: Path) -> ModelCard:
    return cards.read(shelf / "tiny-classifier")


def state(shelf: Path) -> dict[str, Tensor]:
    return {**checkpoint.read(base(shelf)), "fc.weight": torch.rand(2, 2048), "fc.bias": torch.rand(2)}


def add(shelf: Path, name: str = "mine", *, replace: bool = False, **training: Any) -> ModelCard:
    where = new_model.place(shelf, name, replace=replace)
    with NewModel(shelf, where) as model:
        model.write(new_model.tables(where, base(shelf), LABELS, training), LABELS, state(shelf))
        return model.finish({"top1": 0.9, "recall": {"one": 1.0, "two": 0.8}})


def entries(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_model_is_a_card_of_the_store_with_labels_weights_and_origin(shelf: Path) -> None:
    card = add(shelf, seed=5, photos={"one": 8, "a b": 9})

    assert zoo.read_zoo(shelf)["mine"] == card
    assert [label.label for label in card.classes] == list(LABELS)
    assert card.input == base(shelf).input
    assert card.training["base"]["name"] == "tiny-classifier"
    assert len(card.training["base"]["identity"]) == 64
    assert (card.training["seed"], card.training["photos"]) == (5, {"one": 8, "a b": 9})
    assert card.measured["recall"] == {"one": 1.0, "two": 0.8}
    assert entries(shelf / "mine") == {"card.toml", "labels.txt", "weights", "weights/mine.safetensors"}


def test_weights_take_16_bits_where_that_changes_nothing(shelf: Path) -> None:
    card = add(shelf)

    assert card.weights_bytes is not None
    assert card.weights_bytes < 1.05 * (base(shelf).weights_bytes or 0)
    found, given = checkpoint.read(card), checkpoint.read(base(shelf))
    assert all(torch.equal(found[key], given[key]) for key in given if not key.startswith("fc."))


def test_an_error_leaves_the_store_as_it_was(shelf: Path) -> None:
    before = entries(shelf)
    where = new_model.place(shelf, "mine", replace=False)

    def interrupted() -> None:
        with NewModel(shelf, where) as model:
            model.write(new_model.tables(where, base(shelf), LABELS, {}), LABELS, state(shelf))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert entries(shelf) == before


def test_a_taken_name_is_refused_and_replaced_by_the_next_version_on_request(shelf: Path) -> None:
    first = add(shelf)
    with pytest.raises(CardError, match=r"mine exists in .*, version 1\.0; .* --replace"):
        new_model.place(shelf, "mine", replace=False)

    second = add(shelf, replace=True)

    assert (first.version, second.version) == ("1.0", "2.0")
    assert first.checksum != second.checksum
    assert {path.name for path in shelf.iterdir()} == {"tiny-classifier", "mine"}


def test_a_replacement_that_was_cut_off_does_not_hide_the_model(shelf: Path) -> None:
    first = add(shelf)
    (shelf / "mine").rename(shelf / ".mine.replaced")

    second = add(shelf, replace=True)

    assert (first.version, second.version) == ("1.0", "2.0")
    assert {path.name for path in shelf.iterdir()} == {"tiny-classifier", "mine"}


def test_a_model_that_another_process_added_meanwhile_stays(shelf: Path) -> None:
    where = new_model.place(shelf, "mine", replace=False)
    first = add(shelf)

    with NewModel(shelf, where) as model:
        model.write(new_model.tables(where, base(shelf), LABELS, {}), LABELS, state(shelf))
        with pytest.raises(CardError, match="was added while this model was trained"):
            model.finish({})

    assert cards.read(shelf / "mine") == first


def test_a_model_that_train_did_not_make_is_never_replaced(shelf: Path) -> None:
    with pytest.raises(CardError, match="`train` did not make it"):
        new_model.place(shelf, "tiny-classifier", replace=True)
    (shelf / "notes").mkdir()
    with pytest.raises(CardError, match="`train` did not make it"):
        new_model.place(shelf, "notes", replace=True)


@pytest.mark.parametrize("name", ["Mine", "../mine", "labels", "mine@2", ""])
def test_a_name_that_no_model_may_have_is_refused(shelf: Path, name: str) -> None:
    with pytest.raises(CardError, match="is not a model name"):
        new_model.place(shelf, name, replace=False)


def test_models_remove_deletes_the_whole_model(shelf: Path) -> None:
    store.remove(add(shelf), shelf / "archives", print)

    assert not (shelf / "mine").exists()


def test_a_disk_without_room_is_reported_before_the_training(shelf: Path) -> None:
    huge = base(shelf).model_copy(update={"folder": shelf / "tiny-classifier"})
    new_model.require_space(shelf, huge)
    path = huge.weights_path
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 43)  # a sparse file: 8 TiB that take no room

    with pytest.raises(CardError, match=r"MB free, and the model needs up to \d+ MB"):
        new_model.require_space(shelf, huge)
