"""The torch code of a card's task."""

from pathlib import Path

import pytest

from service.engines.heads import head_of
from service.models import cards
from service.models.cards import CardError
from service.tasks.classification import head as classification
from service.tasks.segmentation import head as segmentation
from service.tasks.torch_head import TorchHead
from tests.stores import write_store


@pytest.mark.parametrize(
    ("name", "expected"), [("tiny-classifier", classification.HEAD), ("tiny-segmenter", segmentation.HEAD)]
)
def test_a_card_has_the_head_of_its_task(tmp_path: Path, name: str, expected: TorchHead) -> None:
    folder = write_store(tmp_path, name, weights=False) / name

    assert head_of(cards.read(folder)) is expected


def test_a_card_of_an_unknown_task_has_no_head(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")

    with pytest.raises(CardError, match="there is no task 'depth'"):
        head_of(card.model_copy(update={"task": "depth"}))
