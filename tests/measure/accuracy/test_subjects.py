"""The models to score."""

from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.measure.accuracy import subjects
from service.measure.accuracy.scoring import qualities
from service.measure.pipeline import Pipeline
from service.models.labels import Label
from tests.measure.accuracy.made_datasets import card_of
from tests.measure.test_pipeline import encoded


def test_the_model_of_a_card_is_the_pipeline_that_serves(store: Path, images: npt.NDArray[np.uint8]) -> None:
    card = card_of(store, "tiny-classifier")
    subject = subjects.of_card(card)
    (answer,), (expected,) = subject.open()(encoded(images[0])), Pipeline.load(card)(encoded(images[0]))
    np.testing.assert_array_equal(answer.arrays["scores"], expected.arrays["scores"])
    assert (subject.name, subject.batch) == (card.name, card.serving.batch_size)


def test_a_model_in_this_process_names_its_resizer(store: Path) -> None:
    card = card_of(store, "tiny-classifier")
    by_pillow = card.model_copy(update={"input": card.input.model_copy(update={"resizer": "pillow"})})
    assert [subjects.of_card(each).resizer for each in (card, by_pillow)] == [
        f"{name} {metadata.version(name)}" for name in ("cykooz-resizer", "pillow")
    ]
    assert len({subjects.of_card(each).identity for each in (card, by_pillow)}) == 2


def test_another_card_and_another_quality_have_another_identity(store: Path) -> None:
    card = card_of(store, "tiny-segmenter")
    other = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "0" * 64})})
    told = {subjects.of_card(each, quality=quality).identity for each in (card, other) for quality in qualities()}
    assert len(told) == 4


def test_a_label_of_two_classes_is_known_by_its_wordnet_ids_alone() -> None:
    rows = [("crane", "n02012849"), ("cat", None), ("crane", "n03126707")]
    classes = tuple(Label(class_id=place, label=name, wnid=wnid) for place, (name, wnid) in enumerate(rows))
    subject = subjects.Subject("m", "1", "classification", classes, {}, "", 1, lambda: lambda *_: [])
    assert subject.class_ids == {"cat": 1, "n02012849": 0, "n03126707": 2}
