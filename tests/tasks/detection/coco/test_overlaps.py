"""Overlaps of boxes and masks against pycocotools."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from service.tasks.detection.coco.cropped_masks import cropped
from service.tasks.detection.coco.overlaps import box_overlaps, mask_overlaps, nearest_box


def boxes(random: np.random.Generator, count: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    corners = random.uniform(0, 60, (count, 2))
    return np.concatenate([corners, corners + random.uniform(1, 50, (count, 2))], axis=1)


def as_coco(corners: "np.ndarray[Any, np.dtype[np.float64]]") -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_boxes_overlap_as_in_pycocotools_also_in_crowds(seed: int) -> None:
    random = np.random.default_rng(seed)
    found, true, crowd = boxes(random, 9), boxes(random, 6), random.random(6) < 0.4

    expected = coco_mask.iou(as_coco(found), as_coco(true), crowd.astype(np.uint8).tolist())

    assert box_overlaps(found, true, crowd) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_masks_of_one_class_overlap_as_in_pycocotools_and_others_not_at_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    found, true = random.random((4, 40, 50)) < 0.3, random.random((3, 40, 50)) < 0.3
    crowd, same = random.random(3) < 0.4, random.random((4, 3)) < 0.7
    encoded = [[coco_mask.encode(np.asfortranarray(each.astype(np.uint8))) for each in many] for many in (found, true)]

    expected = coco_mask.iou(*encoded, crowd.astype(np.uint8).tolist())
    mine = mask_overlaps([cropped(each) for each in found], [cropped(each) for each in true], crowd, same)

    assert mine == pytest.approx(np.where(same, expected, 0))


def test_an_empty_box_or_mask_overlaps_nothing() -> None:
    nowhere = np.array([[5.0, 5.0, 5.0, 5.0]])
    empty = cropped(np.zeros((4, 4), bool))

    assert box_overlaps(nowhere, nowhere, np.array([False])).tolist() == [[0.0]]
    assert mask_overlaps([empty], [empty], np.array([False]), np.array([[True]])).tolist() == [[0.0]]


def test_the_nearest_box_is_one_of_the_same_class() -> None:
    mine = {"boxes": np.array([[0, 0, 10, 10.0]]), "class_ids": np.array([1])}
    theirs = {"boxes": np.array([[0, 0, 10, 10], [0, 0, 10, 8.0]]), "class_ids": np.array([0, 1])}
    nobody = {"boxes": np.zeros((0, 4)), "class_ids": np.zeros(0, np.int64)}

    assert [each.tolist() for each in nearest_box(mine, theirs)] == [[1], [0.8]]
    assert [each.tolist() for each in nearest_box(mine, nobody)] == [[0], [0.0]]
