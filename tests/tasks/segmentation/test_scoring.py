"""Scores of segmenters against scikit-learn and torchmetrics on random data, and against counts by hand."""
# ruff: noqa: PLC0415 - scikit-learn or torchmetrics takes 0.8 s, and every process of the tests loads every module

from typing import Any

import numpy as np
import pytest
import torch

from service.tasks.scoring_base import IGNORED
from service.tasks.segmentation import scoring
from service.tasks.segmentation.scoring import SegmentationOutcome

CLASSES = 12
LABELS = [f"label {class_id}" for class_id in range(CLASSES)]


def masks(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    true = random.integers(0, CLASSES - 1, (4, 30, 40)).astype(np.uint8)
    found = np.where(random.random(true.shape) < 0.6, true, random.integers(0, CLASSES, true.shape)).astype(np.uint8)
    true[random.random(true.shape) < 0.1] = IGNORED
    return true, found


def sparse(true: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> SegmentationOutcome:
    counts = scoring.pixel_counts(true, found, CLASSES)
    present = np.nonzero(counts)
    return SegmentationOutcome("", *(tuple(each.tolist()) for each in (*present, counts[present])))


@pytest.mark.parametrize("seed", range(3))
def test_iou_and_accuracy_are_those_of_scikit_learn_and_torchmetrics(seed: int) -> None:
    from sklearn import metrics
    from torchmetrics.functional import classification as reference

    true, found = masks(seed)
    scores = scoring.scores(LABELS, [sparse(*pair) for pair in zip(true, found, strict=True)])
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
    assert scores.images == 4


def test_one_pictures_iou_is_torchmetrics_too() -> None:
    from torchmetrics.functional.segmentation import mean_iou

    true, found = (np.random.default_rng(5).integers(0, 3, (1, 20, 20)) for _ in range(2))
    counts = scoring.pixel_counts(true.astype(np.uint8), found.astype(np.uint8), 3)
    scores = scoring.scores_of_counts(counts, "abc", 1)
    expected = mean_iou(torch.from_numpy(found), torch.from_numpy(true), 3, per_class=True, input_format="index")
    assert list(scores.iou.values()) == pytest.approx(expected[0].tolist(), abs=1e-6)


def test_a_class_that_nobody_shows_or_finds_has_no_score() -> None:
    scores = scoring.scores("abc", [SegmentationOutcome("", (0, 1), (0, 1), (4, 4))])
    assert scores.iou == {"a": 1, "b": 1}
    assert scores.mean_iou == 1


def test_the_foreground_is_every_class_but_the_first() -> None:
    scores = scoring.scores("abc", [SegmentationOutcome("", (0, 1, 1, 2, 2), (0, 0, 1, 1, 2), (5, 1, 2, 3, 4))])
    assert scores.foreground_iou == pytest.approx(9 / 10)
