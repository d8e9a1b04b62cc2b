"""What two forms of a network have in common, by hand-written answers."""

import numpy as np
import pytest

from service.engines import Arrays
from service.measure.accuracy.agreement import Agreement, agreement


def scored(*rows: tuple[float, ...]) -> Arrays:
    return {"scores": np.array(rows, np.float32)}


def test_labels_count_by_picture_and_scores_by_their_distance() -> None:
    pairs = [
        (scored((0.75, 0.25), (0.5, 0.5)), scored((0.5, 0.5), (0.25, 0.75))),  # the first of equals is the likeliest
        (scored((0.0, 1.0)), scored((0.0, 1.0))),
    ]
    found = agreement(pairs)
    assert found.pictures == 3
    assert found.same == pytest.approx(2 / 3)
    assert found.difference == pytest.approx(1 / 6)


def test_masks_count_by_pixel_whatever_their_sizes() -> None:
    def segmented(mask: list[list[int]], *scores: float) -> Arrays:
        return {"mask": np.array([mask], np.uint8), "class_scores": np.array([scores], np.float32)}

    pairs = [
        (segmented([[0, 1, 1]], 0.5, 0.5), segmented([[0, 1, 0]], 0.5, 0.75)),
        (segmented([[2]], 0.0, 0.0), segmented([[2]], 0.0, 0.0)),
    ]
    assert agreement(pairs) == Agreement(pictures=2, same=0.75, difference=0.0625)
