"""The subjects of these tests."""

from pathlib import Path

import pytest

from service.measure.accuracy import subjects
from service.measure.accuracy.subjects import Subject
from tests.measure.accuracy.made_datasets import card_of, says, sees
from tests.stores import write_store


@pytest.fixture
def classifier(tmp_path: Path) -> Subject:
    """Seven labels, cat and dog first; it asks `says` and loads no weights."""
    store = write_store(tmp_path / "store", "tiny-classifier", weights=False)
    return subjects.of_card(card_of(store, "tiny-classifier"), says)


@pytest.fixture
def segmenter(tmp_path: Path) -> Subject:
    """Background, cat and dog; it asks `sees`."""
    store = write_store(tmp_path / "store", "tiny-segmenter", weights=False)
    return subjects.of_card(card_of(store, "tiny-segmenter"), sees)
