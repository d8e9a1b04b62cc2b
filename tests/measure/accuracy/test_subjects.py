"""A model as scoring sees it."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from service.measure.accuracy import subjects
from service.measure.pipeline import Answer, Pipeline
from service.models.labels import Label
from service.tasks.operations import Quality
from tests.measure.accuracy.made_datasets import card_of
from tests.measure.test_pipeline import encoded

QUALITIES: Final[tuple[Quality, ...]] = ("fast", "best")


def test_the_model_of_a_card_is_the_pipeline_that_serves(store: Path, pictures: npt.NDArray[np.uint8]) -> None:
    card = card_of(store, "tiny-classifier")
    subject = subjects.of_card(card)
    (answer,), (expected,) = subject.open()(encoded(pictures[0])), Pipeline.load(card)(encoded(pictures[0]))
    np.testing.assert_array_equal(answer.scores, expected.scores)
    assert (subject.name, subject.batch) == (card.name, card.serving.batch_size)


def test_another_card_and_another_quality_have_another_identity(store: Path) -> None:
    card = card_of(store, "tiny-segmenter")
    other = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "0" * 64})})
    told = {subjects.of_card(each, quality=quality).identity for each in (card, other) for quality in QUALITIES}
    assert len(told) == 4


def test_a_label_of_two_classes_is_known_by_its_wordnet_ids_alone() -> None:
    rows = [("crane", "n02012849"), ("cat", None), ("crane", "n03126707")]
    classes = tuple(Label(class_id=place, label=name, wnid=wnid) for place, (name, wnid) in enumerate(rows))
    subject = subjects.Subject("m", "1", "classification", classes, {}, "", 1, lambda: lambda *_: [])
    assert subject.places == {"cat": 1, "n02012849": 0, "n03126707": 2}


@pytest.mark.parametrize(("scores", "expected"), [((0.1, 0.6, 0.3), [1, 2]), ((0.4, 0.2, 0.4), [0, 2])])
def test_the_best_come_first_and_equal_ones_by_class_id(scores: tuple[float, ...], expected: list[int]) -> None:
    answer = Answer({"scores": np.array(scores, np.float32)}, 1, 1)
    order, sure = subjects.best(answer, 2)
    assert (order, round(sure, 6)) == (expected, max(scores))
