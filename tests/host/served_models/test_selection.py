"""Which models are served, and what is said of the others."""

from pathlib import Path

import pytest

from service.host.run_options import RunOptions
from service.host.served_models.selection import select, select_models
from service.models import model_order
from service.models.cards import CardError
from tests.stores import write_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of two models, of which only the classifier has a weight file."""
    store = write_store(tmp_path / "store", "tiny-classifier", "tiny-segmenter", weights=False)
    (store / "tiny-classifier" / "weights.safetensors").touch()
    return store


def names(options: RunOptions) -> tuple[list[str], list[str]]:
    said: list[str] = []
    return [card.name for card in select_models(options, said.append)], said


def test_a_version_is_named_by_its_number(folder: Path) -> None:
    newer = folder / "tiny-classifier@2.0"
    newer.mkdir()
    card = (folder / "tiny-classifier" / "card.toml").read_text(encoding="utf-8")
    (newer / "card.toml").write_text(card.replace('version = "1.0"', 'version = "2.0"'), encoding="utf-8")
    asked = ("tiny-classifier@1.0", "tiny-classifier@2.0", "tiny-classifier")
    assert names(RunOptions(folder, asked)) == (["tiny-classifier@1.0", "tiny-classifier"], [])
    with pytest.raises(CardError, match=r"no model is named tiny-classifier@3\.0;"):
        names(RunOptions(folder, ("tiny-classifier@3.0",)))


def test_all_models_that_have_their_weights_are_served_and_the_others_named(folder: Path) -> None:
    served, said = names(RunOptions(folder))
    assert served == ["tiny-classifier"]
    (line,) = said
    assert str(folder / "tiny-segmenter" / "weights.safetensors") in line


def test_models_that_were_asked_for_are_served_in_that_order_and_once(folder: Path) -> None:
    assert names(RunOptions(folder, ("tiny-segmenter", "tiny-classifier", "tiny-segmenter"))) == (
        ["tiny-segmenter", "tiny-classifier"],
        [],
    )


def test_all_models_are_in_the_order_in_which_they_were_added(tmp_path: Path) -> None:
    store = write_store(tmp_path, "tiny-classifier-b", weights=False)
    (store / "tiny-classifier-b" / "weights.safetensors").touch()
    model_order.record(store)
    write_store(store, "tiny-classifier", weights=False)
    (store / "tiny-classifier" / "weights.safetensors").touch()

    assert names(RunOptions(store))[0] == ["tiny-classifier-b", "tiny-classifier"]


def test_a_model_that_is_not_by_default_is_served_only_where_it_is_named(tmp_path: Path) -> None:
    store = write_store(tmp_path, "tiny-classifier", weights=False)
    write_store(tmp_path, "tiny-classifier-b", weights=False, changes={"serving": {"by_default": False}})
    for name in ("tiny-classifier", "tiny-classifier-b"):
        (store / name / "weights.safetensors").touch()

    assert names(RunOptions(store)) == (["tiny-classifier"], [])
    assert names(RunOptions(store, ("tiny-classifier-b",))) == (["tiny-classifier-b"], [])


def test_an_unknown_model_is_told_with_those_there_are(folder: Path) -> None:
    with pytest.raises(CardError, match="no model is named dog; there are tiny-classifier, tiny-segmenter"):
        names(RunOptions(folder, ("dog", "tiny-classifier")))


def test_a_store_without_weights_is_told_with_the_missing_files(folder: Path) -> None:
    (folder / "tiny-classifier" / "weights.safetensors").unlink()
    with pytest.raises(CardError) as caught:
        names(RunOptions(folder))
    for name in ("tiny-classifier", "tiny-segmenter"):
        assert str(folder / name / "weights.safetensors") in str(caught.value)


def test_an_empty_store_is_told_by_its_whole_path(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=f"{tmp_path} holds no model"):
        names(RunOptions(tmp_path))


def test_an_unreadable_card_is_left_out_with_its_reason(folder: Path) -> None:
    (folder / "tiny-segmenter" / "card.toml").write_text("name =", encoding="utf-8")

    selection = select(folder, ())

    assert [card.name for card in selection.cards] == ["tiny-classifier"]
    assert list(selection.unreadable) == ["tiny-segmenter"]
