"""The identity of a model changes when its results may change, and only then."""

from pathlib import Path
from typing import Any

import pytest

from service.models import cards
from service.models.identity import identity
from tests.stores import serving, write_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_store(tmp_path, "tiny-segmenter", weights=False) / "tiny-segmenter"


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("weights", {"sha256": "1" * 64}),
        ("network", {"name": "deeplab_resnest50"}),
        ("input", {"size": 96}),
        ("multiscale", {"scales": (1.0,)}),
        ("labels", {"names": {"de": ("Hintergrund", "Katze", "Hund")}}),
        ("serving", {"precision": "int8"}),
        ("serving", {"engine": "torch"}),
    ],
)
def test_a_model_that_may_answer_otherwise_has_another_identity(
    folder: Path, part: str, change: dict[str, Any]
) -> None:
    card = cards.read(folder)
    changed = card.model_copy(update={part: getattr(card, part).model_copy(update=change)})
    assert identity(changed) != identity(card)


@pytest.mark.parametrize(("old", "new"), [("dog", "wolf"), ("#4363d8", "#4363d9")])
def test_a_corrected_label_file_makes_another_identity(folder: Path, old: str, new: str) -> None:
    before = identity(cards.read(folder))
    path = folder / "labels.txt"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert identity(cards.read(folder)) != before


class LaterNetwork(cards.Network):
    """A part of a card to which a later release has added a member."""

    dilated: bool = False


class LaterCard(cards.ModelCard):
    """The card of a later release."""

    network: LaterNetwork


def test_a_later_release_finds_the_same_identity_in_the_same_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise no gateway could use a worker of another release, as during each rollout."""
    before = identity(cards.read(folder))
    monkeypatch.setattr(cards, "ModelCard", LaterCard)
    card = cards.read(folder)

    assert isinstance(card.network, LaterNetwork)
    assert identity(card) == before


def test_a_model_that_answers_the_same_keeps_its_identity(folder: Path) -> None:
    card = cards.read(folder)
    renamed = card.model_copy(update={"summary": "Another summary.", "name": "tiny-segmenter@1.0"})
    assert identity(serving(renamed, workers=2, batch_size=1)) == identity(card)
