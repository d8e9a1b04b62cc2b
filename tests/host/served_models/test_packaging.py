"""Which models of a start are packaged, and which are left out."""

from pathlib import Path

import pytest

from service.host.served_models import packaging
from service.models import zoo
from service.models.cards import CardError, ModelCard
from tests.stores import MODELS, write_store


@pytest.fixture
def cards(tmp_path: Path) -> list[ModelCard]:
    """Three models, the weights of the first of which have one wrong byte."""
    store = write_store(tmp_path / "store")
    weights = store / "tiny-classifier" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return list(zoo.read_all(store).values())


def test_a_model_with_one_wrong_byte_is_left_out_and_the_others_are_packaged(
    cards: list[ModelCard], tmp_path: Path
) -> None:
    said: list[str] = []
    found = packaging.package_all(cards, tmp_path / "archives", said.append, strict=False)

    assert [card.name for card in found.refused] == ["tiny-classifier"]
    assert {card.name for card in found.loaded} == MODELS.keys() - {"tiny-classifier"}
    assert {path.name for path in (tmp_path / "archives").glob("[!.]*")} == {card.name for card in found.loaded}
    (line,) = said
    assert line.startswith("Leaving out a model: tiny-classifier: ")
    assert "has the SHA-256" in line


def test_strict_stops_at_the_first(cards: list[ModelCard], tmp_path: Path) -> None:
    with pytest.raises(CardError, match="has the SHA-256"):
        packaging.package_all(cards, tmp_path / "archives", print, strict=True)


def test_without_any_sound_model_every_reason_is_given(cards: list[ModelCard], tmp_path: Path) -> None:
    bad = [card for card in cards if card.name == "tiny-classifier"]
    gone = next(card for card in cards if card.name == "tiny-segmenter")
    gone.weights_path.unlink()
    with pytest.raises(CardError, match=r"tiny-classifier: .*; tiny-segmenter: "):
        packaging.package_all([*bad, gone], tmp_path / "archives", print, strict=False)
