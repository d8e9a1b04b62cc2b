"""Rows and members that the command line shows of a card. `test_models_command.py` has the whole list."""

from pathlib import Path

import pytest

from service.cli.models import model_table
from service.models import cards
from tests.stores import write_store


def test_a_row_has_the_size_of_the_weights_and_their_state(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier") / "tiny-classifier")
    megabytes = round(card.weights_path.stat().st_size / 1e6)

    assert model_table.row(card, "top1") == ("tiny-classifier", f"{megabytes} MB", "64", "-", "ready")


def test_a_card_without_weights_has_an_estimate_from_its_parameters(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")
    network = card.network.model_copy(update={"parameters": 2_000_000})

    assert model_table.row(card.model_copy(update={"network": network}), "top1")[1] == "~8 MB"


@pytest.mark.parametrize(
    ("memory", "score", "marks"),
    [("1 MB", "81.03", ""), ("1 MB", "81.03*", "*"), ("~1 MB", "-", "~"), ("~1 MB", "81.03*", "*~")],
)
def test_each_mark_in_the_rows_has_one_footnote(memory: str, score: str, marks: str) -> None:
    rows = [("other", "1 MB", "64", "-", "ready"), ("marked", memory, "64", score, "ready")]

    assert "".join(note[0] for note in model_table.footnotes(rows)) == marks


def test_the_leaves_of_a_card_have_their_paths() -> None:
    document = {"a": {"b": 1, "empty": {}}, "urls": ["x", "y"], "numbers": [1, 2]}

    assert dict(model_table.flat(document)) == {"a.b": 1, "urls.1": "x", "urls.2": "y", "numbers": [1, 2]}
