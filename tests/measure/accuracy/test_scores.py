"""The figures against scikit-learn and torchmetrics on random data, and against counts made by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional import classification as reference
from torchmetrics.functional.segmentation import mean_iou

from service.measure.accuracy import scores as evaluation
from service.measure.accuracy.scores import IGNORED, ClassifiedImage, SegmentedImage

CLASSES = 12
LABELS = [f"label {place}" for place in range(CLASSES)]


def answers(seed: int, count: int = 500) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """True classes, and probabilities that often favour them."""
    random = np.random.default_rng(seed)
    true = random.integers(0, CLASSES - 1, count)  # one class never occurs
    logits = random.normal(size=(count, CLASSES)) + 1.5 * np.eye(CLASSES)[true]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, scores.astype(np.float32)


def guesses(true: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> list[ClassifiedImage]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5].tolist()
    rows = zip(true.tolist(), order, scores.max(axis=1).tolist(), strict=True)
    return [ClassifiedImage(f"{place}", each, tuple(best), sure) for place, (each, best, sure) in enumerate(rows)]


@pytest.fixture(params=range(3))
def case(request: pytest.FixtureRequest) -> tuple[Any, Any, evaluation.Classification]:
    true, scores = answers(request.param)
    return true, scores, evaluation.classified(LABELS, guesses(true, scores))


Case = tuple[Any, Any, evaluation.Classification]


def test_top_1_and_top_5_are_scikit_learns(case: Case) -> None:
    true, scores, found = case
    everything = list(range(CLASSES))
    assert found.pictures == 500
    assert found.top1 == pytest.approx(metrics.accuracy_score(true, scores.argmax(1)))
    assert found.top5 == pytest.approx(metrics.top_k_accuracy_score(true, scores, k=5, labels=everything))


def test_the_confusion_and_the_labels_figures_are_scikit_learns(case: Case) -> None:
    true, scores, found = case
    predicted = scores.argmax(1)
    expected = metrics.confusion_matrix(true, predicted, labels=range(CLASSES))
    np.testing.assert_array_equal(np.array(found.confusion), expected)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        true, predicted, labels=range(CLASSES), zero_division=0
    )
    for place, label in enumerate(LABELS):
        if label in found.labels_told:
            told = found.labels_told[label]
            assert (told.pictures, told.precision, told.recall, told.f1) == pytest.approx(
                (support[place], precision[place], recall[place], f1[place])
            )
        else:
            assert support[place] == 0


def test_the_calibration_error_is_torchmetrics(case: Case) -> None:
    true, scores, found = case
    expected = reference.multiclass_calibration_error(
        torch.from_numpy(scores), torch.from_numpy(true), CLASSES, n_bins=evaluation.BINS, norm="l1"
    )
    assert found.calibration_error == pytest.approx(expected.item(), abs=1e-6)
    assert sum(each.pictures for each in found.bins) == found.pictures


def masks(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    true = random.integers(0, CLASSES - 1, (4, 30, 40)).astype(np.uint8)
    found = np.where(random.random(true.shape) < 0.6, true, random.integers(0, CLASSES, true.shape)).astype(np.uint8)
    true[random.random(true.shape) < 0.1] = IGNORED
    return true, found


def sparse(true: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> SegmentedImage:
    counts = evaluation.pixel_counts(true, found, CLASSES)
    where = np.nonzero(counts)
    return SegmentedImage("", *(tuple(each.tolist()) for each in (*where, counts[where])))


@pytest.mark.parametrize("seed", range(3))
def test_iou_and_accuracy_are_those_of_scikit_learn_and_torchmetrics(seed: int) -> None:
    true, found = masks(seed)
    scores = evaluation.segmented(LABELS, [sparse(*pair) for pair in zip(true, found, strict=True)])
    counted = true != IGNORED
    expected = metrics.jaccard_score(
        true[counted], found[counted], labels=range(CLASSES), average=None, zero_division=0
    )
    assert list(scores.iou.values()) == pytest.approx(expected)
    assert scores.pixel_accuracy == pytest.approx(metrics.accuracy_score(true[counted], found[counted]))
    mean = reference.multiclass_jaccard_index(
        torch.from_numpy(found.astype(np.int64)), torch.from_numpy(true.astype(np.int64)), CLASSES, ignore_index=IGNORED
    )
    assert scores.mean_iou == pytest.approx(mean.item(), abs=1e-6)
    assert scores.pictures == 4


def test_one_pictures_iou_is_torchmetrics_too() -> None:
    true, found = (np.random.default_rng(5).integers(0, 3, (1, 20, 20)) for _ in range(2))
    scores = evaluation.scored(evaluation.pixel_counts(true.astype(np.uint8), found.astype(np.uint8), 3), "abc", 1)
    expected = mean_iou(torch.from_numpy(found), torch.from_numpy(true), 3, per_class=True, input_format="index")
    assert list(scores.iou.values()) == pytest.approx(expected[0].tolist(), abs=1e-6)


def test_a_class_that_nobody_shows_or_finds_has_no_score() -> None:
    scores = evaluation.segmented("abc", [SegmentedImage("", (0, 1), (0, 1), (4, 4))])
    assert scores.iou == {"a": 1, "b": 1}
    assert scores.mean_iou == 1


def test_the_foreground_is_every_class_but_the_first() -> None:
    scores = evaluation.segmented("abc", [SegmentedImage("", (0, 1, 1, 2, 2), (0, 0, 1, 1, 2), (5, 1, 2, 3, 4))])
    assert scores.foreground_iou == pytest.approx(9 / 10)


def test_a_label_is_told_where_some_picture_has_it_or_was_given_it() -> None:
    found = evaluation.classified("abcd", [ClassifiedImage("", 0, (1, 0), 0.5), ClassifiedImage("", 0, (0, 1), 0.9)])
    assert list(found.labels_told) == ["a", "b"]
    assert found.recall == {"a": 0.5}
    assert found.labels_told["b"].f1 == 0
    assert found.top5 == 1


@pytest.mark.parametrize(("confidence", "place"), [(0.0, 0), (1 / 15, 1), (0.999, 14), (1.0, 14)])
def test_a_confidence_is_in_the_bin_that_it_begins_or_lies_in(confidence: float, place: int) -> None:
    found = evaluation.classified("ab", [ClassifiedImage("", 0, (0,), confidence)])
    assert [each.pictures for each in found.bins].index(1) == place


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["crane", "cat"], ("crane", "cat")), (["crane", "cat", "crane"], ("crane #0", "cat", "crane #2"))],
)
def test_classes_of_one_label_are_told_apart_by_their_ids(labels: Sequence[str], expected: Sequence[str]) -> None:
    assert evaluation.distinct(labels) == expected
