"""The subjects of these tests."""

from pathlib import Path

import pytest

from service.measure.accuracy import subjects
from service.measure.accuracy.subjects import Subject
from tests.measure.accuracy.made_datasets import card_of, fake_classifier, fake_segmenter
from tests.stores import write_store


@pytest.fixture
def classifier(tmp_path: Path) -> Subject:
    """Return a model with seven labels, cat and dog first. It runs `fake_classifier` and loads no weights."""
    store = write_store(tmp_path / "store", "tiny-classifier", weights=False)
    return subjects.of_card(card_of(store, "tiny-classifier"), fake_classifier)


@pytest.fixture
def segmenter(tmp_path: Path) -> Subject:
    """Return a model with the classes background, cat and dog. It runs `fake_segmenter`."""
    store = write_store(tmp_path / "store", "tiny-segmenter", weights=False)
    return subjects.of_card(card_of(store, "tiny-segmenter"), fake_segmenter)
