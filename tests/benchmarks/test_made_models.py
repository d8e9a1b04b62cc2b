"""Tests of the generated models for measurements."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import made_models
from service.measure.load import corpus
from service.measure.pipeline import Pipeline
from service.models import cards, zoo
from service.tasks.segmentation.scoring import mask_of
from tests.stores import write_store

NAMES = ("tiny-classifier", "tiny-segmenter", "tiny-detector")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of models generated from `published`, a store of cards without weights."""
    published = write_store(tmp_path_factory.mktemp("stores") / "published", weights=False)
    (published / "example.jpg").write_bytes(corpus.make([(64, 64)], per_size=1)[0].content)
    store = published.with_name("made")
    made_models.make(store, NAMES, published)
    return store


def test_a_made_model_is_served_as_any_other(made: Path) -> None:
    found = zoo.read_all(made)

    assert found.keys() == set(NAMES)
    assert all(card.published == {} for card in found.values())


def test_each_picture_has_its_own_answer_and_every_number_is_finite(made: Path) -> None:
    pipeline = Pipeline.load(cards.read(made / "tiny-classifier"))

    answers = np.stack(
        [each.arrays["scores"] for each in pipeline(*(each.content for each in corpus.make([(96, 80)], per_size=3)))]
    )

    assert np.isfinite(answers).all()
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert min(np.abs(answers[one] - answers[other]).max() for one, other in ((0, 1), (0, 2), (1, 2))) > 0.02


def test_a_made_segmenter_finds_several_classes(made: Path) -> None:
    (answer,) = Pipeline.load(cards.read(made / "tiny-segmenter"))(corpus.make([(96, 80)], per_size=1)[0].content)

    assert mask_of(answer).shape == (80, 96)
    assert len(np.unique(mask_of(answer))) > 1


def test_a_made_detector_finds_other_objects_in_another_image(made: Path) -> None:
    uploads = [each.content for each in corpus.make([(96, 80)], per_size=2)]

    first, second = (each.arrays for each in Pipeline.load(cards.read(made / "tiny-detector"))(*uploads))

    assert len(first["scores"]) > 1
    assert first["boxes"].tolist() != second["boxes"].tolist()


def test_what_is_there_is_left_alone(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.safetensors")}

    made_models.make(made, NAMES, made.with_name("published"))

    assert len(before) == len(NAMES)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.safetensors")} == before


def test_no_made_model_has_the_name_of_a_published_one() -> None:
    published = zoo.read_zoo(made_models.PUBLISHED)

    assert not made_models.MADE.keys() & published.keys()
    assert set(made_models.MADE.values()) <= published.keys()
