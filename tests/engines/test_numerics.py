"""The comparison of two engines, and the limits of their differences."""

import numpy as np
import pytest

from service.tasks.classification.scoring import SCORING as CLASSIFICATION
from service.tasks.segmentation.scoring import SCORING as SEGMENTATION
from service.tasks.torch_head import BatchArrays
from tests.engines import numerics
from tests.engines.numerics import Agreement


def labelled(*scores: list[float]) -> BatchArrays:
    return {"scores": np.array(scores, np.float32)}


def test_labels_are_counted_by_picture_and_scores_by_their_mean_difference() -> None:
    ours = [labelled([0.6, 0.4], [0.3, 0.7]), labelled([0.9, 0.1], [0.2, 0.8])]
    theirs = [labelled([0.6, 0.4], [0.3, 0.7]), labelled([0.9, 0.1], [0.6, 0.4])]
    found = numerics.compare(ours, theirs, CLASSIFICATION)
    assert (found.images, found.equal) == (4, 0.75)
    assert found.difference == pytest.approx(0.1)


def segmented(mask: list[list[int]], *scores: float) -> BatchArrays:
    return {"mask": np.array([mask], np.uint8), "class_scores": np.array([scores], np.float32)}


def test_masks_are_counted_by_pixel_whatever_their_shapes() -> None:
    ours = [segmented([[0, 0, 0], [0, 0, 0]], 0.5, 0.0), segmented([[0, 1]], 0.5, 0.2)]
    theirs = [segmented([[0, 0, 0], [1, 1, 0]], 0.5, 0.2), segmented([[0, 1]], 0.5, 0.2)]
    found = numerics.compare(ours, theirs, SEGMENTATION)
    assert (found.images, found.equal) == (2, 6 / 8)
    assert found.difference == pytest.approx(2 * 0.3 / 8)  # two pixels whose classes score 0.5 and 0.2


def test_a_class_of_one_pixel_counts_for_one_pixel() -> None:
    ours, theirs = segmented([[0] * 1000], 0.5, 0.0), segmented([[0] * 999 + [1]], 0.5, 0.6)
    assert numerics.compare([ours], [theirs], SEGMENTATION).difference == pytest.approx(0.1 / 1000)


@pytest.mark.parametrize(
    ("found", "precision", "holds"),
    [
        (Agreement(200, 1.0, 4e-3), "bf16", True),
        (Agreement(200, 1.0, 4e-3), "fp32", False),
        (Agreement(200, 0.994, 0.0), "bf16", False),
        (Agreement(200, 1.0, 6e-3), "fp16", False),
    ],
)
def test_near_enough_is_a_matter_of_the_precision(found: Agreement, precision: str, *, holds: bool) -> None:
    assert found.holds(precision) is holds


def test_parts_of_the_example_are_of_many_sizes_and_the_same_every_time() -> None:
    once, again = ([part.tobytes() for part in numerics.parts(6)] for _ in range(2))
    assert once == again
    assert len({part.size for part in numerics.parts(6)}) > 3
