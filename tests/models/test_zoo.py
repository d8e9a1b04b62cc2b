"""The cards of a whole store: names and versions, and cards that cannot be used."""

from pathlib import Path

import pytest

from service.models import zoo
from service.models.cards import CardError, ModelCard
from tests.stores import write_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", weights=False)


def spoil(store: Path, folder: str, text: str = "name = ", file: str = "card.toml") -> None:
    (store / folder).mkdir(exist_ok=True)
    (store / folder / file).write_text(text, encoding="utf-8")


def add_version(store: Path, version: str) -> Path:
    """Add a further version of the tiny classifier in the folder that an import would use."""
    folder = store / f"tiny-classifier@{version}"
    folder.mkdir()
    for name in ("card.toml", "labels.txt"):
        text = (store / "tiny-classifier" / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace('version = "1.0"', f'version = "{version}"'), encoding="utf-8")
    return folder


BAD_CARDS = {
    "no TOML": ("card.toml", "name = "),
    "a field that there is not": ("card.toml", 'nmae = "x"'),
    "UTF-16": ("card.toml", "\ufeffname".encode("utf-16").decode("latin-1")),
    "labels that are too few": ("labels.txt", "cat\n"),
}


@pytest.mark.parametrize("why", BAD_CARDS)
def test_an_unreadable_card_stops_no_other_model_and_is_returned_with_its_reason(store: Path, why: str) -> None:
    file, text = BAD_CARDS[why]
    spoil(store, "tiny-classifier-b", text, file)
    found = zoo.read_all(store)
    assert list(found) == ["tiny-classifier", "tiny-detector", "tiny-segmenter"]
    (reason,) = found.unreadable.values()
    assert "tiny-classifier-b" in reason


def test_a_card_that_a_check_refuses_is_unreadable(store: Path) -> None:
    def check(card: ModelCard) -> None:
        if card.name == "tiny-segmenter":
            raise CardError("no such task")

    found = zoo.read_zoo(store, check)
    assert "tiny-segmenter" not in found
    assert found.unreadable == {"tiny-segmenter": "no such task"}


def test_a_name_that_a_store_has_twice_is_unreadable_and_the_reason_names_both_folders(store: Path) -> None:
    spoil(store, "copy", (store / "tiny-classifier" / "card.toml").read_text(encoding="utf-8"))
    found = zoo.read_zoo(store)
    assert "tiny-classifier" not in found
    assert found.unreadable.keys() == {"copy", "tiny-classifier"}
    for folder in found.unreadable:
        with pytest.raises(CardError, match=r"copy and .*tiny-classifier have the same name and version"):
            found.select([folder])


def test_a_named_model_whose_card_is_unreadable_raises_the_reason(store: Path) -> None:
    spoil(store, "tiny-segmenter")
    found = zoo.read_zoo(store)
    assert [card.name for card in found.select(["tiny-classifier"])] == ["tiny-classifier"]
    with pytest.raises(CardError, match=r"tiny-segmenter/card\.toml cannot be read"):
        found.select(["tiny-segmenter"])


def test_a_plain_name_does_not_mean_a_lower_version_while_the_highest_is_unreadable(store: Path) -> None:
    add_version(store, "2.0")
    spoil(store, "tiny-classifier@2.0")
    found = zoo.read_zoo(store)
    with pytest.raises(CardError, match=r"tiny-classifier@2\.0/card\.toml cannot be read"):
        found.select(["tiny-classifier"])
    assert [card.version for card in found.select(["tiny-classifier@1.0"])] == ["1.0"]


def test_the_highest_version_has_the_plain_name_and_its_own(store: Path) -> None:
    add_version(store, "2.0")
    found = zoo.read_zoo(store)
    names = ["tiny-classifier", "tiny-classifier@2.0", "tiny-classifier@1.0"]
    assert [card.version for card in found.select(names)] == ["2.0", "1.0"]


def test_an_unknown_version_is_answered_with_the_versions_that_there_are(store: Path) -> None:
    add_version(store, "2.0")
    with pytest.raises(CardError, match=r"named tiny-classifier@9\.0; the versions of tiny-classifier are 1\.0, 2\.0$"):
        zoo.read_zoo(store).select(["tiny-classifier@9.0"])


def test_an_unknown_name_is_answered_with_similar_ones_of_a_large_store() -> None:
    with pytest.raises(CardError, match=r"named resnest5; similar names: resnest50, .*`resnest-service models list`"):
        zoo.read_zoo(Path(__file__).parents[2] / "model_store").select(["resnest5"])


def test_an_unknown_name_is_answered_with_all_names_of_a_small_store(store: Path) -> None:
    with pytest.raises(
        CardError, match=r"no model is named tiny-clasifier; there are tiny-classifier, tiny-classifier-b, "
    ):
        zoo.read_zoo(store).select(["tiny-clasifier"])


def test_a_store_of_unreadable_cards_only_raises_their_reasons(tmp_path: Path) -> None:
    spoil(tmp_path, "pets")
    with pytest.raises(CardError, match=r"pets/card\.toml cannot be read"):
        zoo.read_nonempty_zoo(tmp_path)
