"""Detections in pixels of the upload, with masks in both forms."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from service.imaging import rle
from service.tasks.detection.coco.detections import found_in
from service.tasks.scoring_base import PipelineOutput

WIDTH, HEIGHT = 80, 60


def output(**masks: Any) -> PipelineOutput:
    arrays: dict[str, Any] = {
        "boxes": np.array([[0.125, 0.25, 0.5, 0.75]], np.float32),
        "scores": np.array([0.5], np.float32),
        "class_ids": np.array([7], np.uint16),
    }
    return PipelineOutput(arrays | masks, WIDTH, HEIGHT)


def test_boxes_are_in_pixels() -> None:
    found = found_in(output())

    assert found.boxes.tolist() == [[10, 15, 40, 45]]
    assert (found.scores.tolist(), found.class_ids.tolist(), found.masks) == ([0.5], [7], None)


def test_a_mask_inside_its_box_is_pasted() -> None:
    (mask,) = found_in(output(masks=np.full((1, 28, 28), 255, np.uint8))).masks or []

    assert (mask.left, mask.top, mask.inside.shape, mask.area) == (10, 15, (30, 30), 900)


def test_run_lengths_are_the_mask_itself() -> None:
    drawn = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.1
    lengths = rle.lengths(coco_mask.encode(np.asfortranarray(drawn.astype(np.uint8)))["counts"].decode())

    (mask,) = found_in(output(runs=lengths, lengths=np.array([len(lengths)]))).masks or []

    assert mask.area == drawn.sum()


@pytest.mark.parametrize("masks", [{"masks": np.zeros((0, 28, 28), np.uint8)}, {"runs": [], "lengths": []}])
def test_no_detection_has_no_mask(masks: dict[str, Any]) -> None:
    nothing = {"boxes": np.zeros((0, 4), np.float32), "scores": np.zeros(0), "class_ids": np.zeros(0, np.uint16)}

    assert found_in(output(**nothing, **{name: np.asarray(each) for name, each in masks.items()})).masks == []
