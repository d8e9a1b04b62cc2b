"""The agreement of two forms of a network, on outputs written by hand."""

import numpy as np
import pytest

from service.measure.accuracy.agreement import Agreement, agreement
from service.tasks.classification import scoring as classification
from service.tasks.scoring_base import Batch
from service.tasks.segmentation import scoring as segmentation


def scored(*rows: tuple[float, ...]) -> Batch:
    return {"scores": np.array(rows, np.float32)}


def test_labels_count_by_picture_and_scores_by_their_distance() -> None:
    pairs = [
        (scored((0.75, 0.25), (0.5, 0.5)), scored((0.5, 0.5), (0.25, 0.75))),  # of equal scores the first is the best
        (scored((0.0, 1.0)), scored((0.0, 1.0))),
    ]
    found = agreement(pairs, classification.compare)
    assert found.images == 3
    assert found.same == pytest.approx(2 / 3)
    assert found.difference == pytest.approx(1 / 6)


def test_masks_count_by_pixel_whatever_their_sizes() -> None:
    def segmented(mask: list[list[int]], *scores: float) -> Batch:
        return {"mask": np.array([mask], np.uint8), "class_scores": np.array([scores], np.float32)}

    pairs = [
        (segmented([[0, 1, 1]], 0.5, 0.5), segmented([[0, 1, 0]], 0.5, 0.75)),
        (segmented([[1]], 0.0, 0.0), segmented([[1]], 0.0, 0.0)),
    ]
    assert agreement(pairs, segmentation.compare) == Agreement(images=2, same=0.75, difference=0.0625)
