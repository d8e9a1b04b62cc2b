"""What differs between the models that are served and those of the store."""

import shutil
from pathlib import Path

import pytest

from service.host.served_models import packaging
from service.host.served_models.selection import select
from service.host.served_models.served import Change, ServedModels
from tests.stores import write_store

ADDRESS = "http://127.0.0.1:1"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", "tiny-classifier", "tiny-segmenter")


@pytest.fixture
def served(store: Path, tmp_path: Path) -> ServedModels:
    """The models of the store, as a start packages them."""
    packaged = packaging.package_all(select(store, ()).cards, tmp_path / "archives", print, strict=True)
    found = ServedModels(packaged, tmp_path, ADDRESS)
    found.roster.write(found.listed)
    return found


def change(served: ServedModels, store: Path) -> Change:
    return served.change_to(select(store, ()).cards)


def edit(store: Path, name: str, old: str, new: str) -> None:
    path = store / name / "card.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_nothing_changes_where_the_store_is_as_it_was(served: ServedModels, store: Path) -> None:
    found = change(served, store)
    assert found.words() == "0 added, 0 replaced, 0 removed"
    assert found.wanted == served.loaded


def test_a_changed_card_labels_or_weights_replace_the_model(served: ServedModels, store: Path) -> None:
    edit(store, "tiny-classifier", "batch_size = 8", "batch_size = 4")
    labels = store / "tiny-segmenter" / "labels.txt"
    labels.write_text(labels.read_text(encoding="utf-8").replace("cat", "lynx"), encoding="utf-8")

    found = change(served, store)

    assert found.words() == "0 added, 2 replaced, 0 removed"
    assert [card.server_name for card in found.added] == ["tiny-classifier@1.0.2", "tiny-segmenter@1.0.2"]
    assert [card.server_name for card in found.removed] == ["tiny-classifier", "tiny-segmenter"]


def test_a_higher_version_takes_the_name_and_the_old_one_keeps_its_workers(served: ServedModels, store: Path) -> None:
    shutil.copytree(store / "tiny-classifier", store / "newer")
    edit(store, "newer", 'version = "1.0"', 'version = "2.0"')

    found = change(served, store)

    assert found.words() == "1 added, 0 replaced, 0 removed"
    names = {card.name: (card.version, card.server_name) for card in found.wanted}
    assert names["tiny-classifier"] == ("2.0", "tiny-classifier@2.0.2")
    assert names["tiny-classifier@1.0"] == ("1.0", "tiny-classifier")


def test_a_model_that_is_gone_from_the_store_is_removed(served: ServedModels, store: Path) -> None:
    shutil.rmtree(store / "tiny-segmenter")

    found = change(served, store)

    assert found.words() == "0 added, 0 replaced, 1 removed"
    assert [card.name for card in found.wanted] == ["tiny-classifier"]


def test_a_model_that_was_left_out_is_listed_where_its_card_can_be_read(served: ServedModels, store: Path) -> None:
    classifier, segmenter = served.loaded
    served.leave_out([classifier, segmenter])
    assert served.listed == [classifier, segmenter]
    assert served.server_names() == []
    assert served.was_refused(classifier)
    bad = segmenter.model_copy(update={"folder": store / "nowhere"})
    bad.__dict__.pop("classes", None)
    served.refused = [bad]
    assert served.listed == []
