"""The subjects of these tests."""

from pathlib import Path

import pytest

from service.measure.accuracy.subjects import Subject
from tests.measure.accuracy.made_datasets import fake_classifier, fake_detector, fake_segmenter, made_subject


@pytest.fixture
def classifier(tmp_path: Path) -> Subject:
    """Return a model with seven labels, cat and dog first. It runs `fake_classifier` and loads no weights."""
    return made_subject(tmp_path, "tiny-classifier", fake_classifier)


@pytest.fixture
def segmenter(tmp_path: Path) -> Subject:
    """Return a model with the classes background, cat and dog. It runs `fake_segmenter`."""
    return made_subject(tmp_path, "tiny-segmenter", fake_segmenter)


@pytest.fixture
def detector(tmp_path: Path) -> Subject:
    """Return a model of cats and dogs. It runs `fake_detector`."""
    return made_subject(tmp_path, "tiny-detector", fake_detector)
