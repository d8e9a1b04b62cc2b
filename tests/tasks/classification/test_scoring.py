"""The scores of classifiers, compared with scikit-learn and torchmetrics on random data, and with manual counts."""
# ruff: noqa: PLC0415 - scikit-learn or torchmetrics takes 0.8 s, and every process of the tests loads every module

from typing import Any

import numpy as np
import pytest
import torch

from service.tasks.classification import scoring
from service.tasks.classification.scoring import ClassificationOutcome, ClassificationScores
from service.tasks.scoring_base import PipelineOutput

CLASSES = 12
LABELS = [f"label {class_id}" for class_id in range(CLASSES)]


def predictions(seed: int, count: int = 500) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return true classes, and probabilities that often favour them."""
    random = np.random.default_rng(seed)
    true = random.integers(0, CLASSES - 1, count)  # one class never occurs
    logits = random.normal(size=(count, CLASSES)) + 1.5 * np.eye(CLASSES)[true]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, scores.astype(np.float32)


def outcomes(true: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> list[ClassificationOutcome]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5].tolist()
    rows = zip(true.tolist(), order, scores.max(axis=1).tolist(), strict=True)
    return [ClassificationOutcome(f"{n}", each, tuple(best), sure) for n, (each, best, sure) in enumerate(rows)]


@pytest.fixture(params=range(3))
def case(request: pytest.FixtureRequest) -> tuple[Any, Any, ClassificationScores]:
    true, scores = predictions(request.param)
    return true, scores, scoring.scores(LABELS, outcomes(true, scores))


Case = tuple[Any, Any, ClassificationScores]


def test_top_1_and_top_5_are_scikit_learns(case: Case) -> None:
    from sklearn import metrics

    true, scores, found = case
    everything = list(range(CLASSES))
    assert found.images == 500
    assert found.top1 == pytest.approx(metrics.accuracy_score(true, scores.argmax(1)))
    assert found.top5 == pytest.approx(metrics.top_k_accuracy_score(true, scores, k=5, labels=everything))


def test_the_confusion_and_the_labels_figures_are_scikit_learns(case: Case) -> None:
    from sklearn import metrics

    true, scores, found = case
    predicted = scores.argmax(1)
    expected = metrics.confusion_matrix(true, predicted, labels=range(CLASSES))
    np.testing.assert_array_equal(np.array(found.confusion), expected)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        true, predicted, labels=range(CLASSES), zero_division=0
    )
    for class_id, label in enumerate(LABELS):
        if label in found.by_label:
            row = found.by_label[label]
            assert (row.images, row.precision, row.recall, row.f1) == pytest.approx(
                (support[class_id], precision[class_id], recall[class_id], f1[class_id])
            )
        else:
            assert support[class_id] == 0


def test_the_calibration_error_is_torchmetrics(case: Case) -> None:
    from torchmetrics.functional import classification as reference

    true, scores, found = case
    expected = reference.multiclass_calibration_error(
        torch.from_numpy(scores), torch.from_numpy(true), CLASSES, n_bins=scoring.BINS, norm="l1"
    )
    assert found.calibration_error == pytest.approx(expected.item(), abs=1e-6)
    assert sum(each.images for each in found.bins) == found.images


def test_a_label_is_told_where_some_picture_has_it_or_was_given_it() -> None:
    found = scoring.scores(
        "abcd", [ClassificationOutcome("", 0, (1, 0), 0.5), ClassificationOutcome("", 0, (0, 1), 0.9)]
    )
    assert list(found.by_label) == ["a", "b"]
    assert found.recall == {"a": 0.5}
    assert found.by_label["b"].f1 == 0
    assert found.top5 == 1


@pytest.mark.parametrize(("confidence", "index"), [(0.0, 0), (1 / 15, 1), (0.999, 14), (1.0, 14)])
def test_a_confidence_is_in_the_bin_that_it_begins_or_lies_in(confidence: float, index: int) -> None:
    found = scoring.scores("ab", [ClassificationOutcome("", 0, (0,), confidence)])
    assert [each.images for each in found.bins].index(1) == index


@pytest.mark.parametrize(("scores", "expected"), [((0.1, 0.6, 0.3), [1, 2]), ((0.4, 0.2, 0.4), [0, 2])])
def test_the_best_come_first_and_equal_ones_by_class_id(scores: tuple[float, ...], expected: list[int]) -> None:
    output = PipelineOutput({"scores": np.array(scores, np.float32)}, 1, 1)
    order, sure = scoring.best_classes(output, 2)
    assert (order, round(sure, 6)) == (expected, max(scores))
