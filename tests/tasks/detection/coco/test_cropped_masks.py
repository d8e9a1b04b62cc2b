"""Pasted masks against torch's own sampling, which the published detectors use."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from service.imaging.drawing.instance_runs import HALF, Box
from service.tasks.detection.coco.cropped_masks import CroppedMask, cropped, pasted

HEIGHT, WIDTH = 90, 120
BOXES: list[Box] = [
    (10, 20, 70, 60),
    (-8.5, -3.25, 30.75, 40.5),
    (100.2, 70.7, 140, 95),
    (50.1, 40.2, 51.3, 41.9),
    (0, 0, 120, 90),
]


def whole(mask: CroppedMask) -> npt.NDArray[np.bool_]:
    out = np.zeros((HEIGHT, WIDTH), bool)
    rows, columns = mask.inside.shape
    out[mask.top : mask.top + rows, mask.left : mask.left + columns] = mask.inside
    return out


def sampled(mask: npt.NDArray[np.uint8], box: Box) -> npt.NDArray[np.float64]:
    """Return the value at each pixel of the image by `grid_sample`, which gives 0 outside the box."""
    left, top, right, bottom = box
    x = (np.arange(WIDTH) + 0.5 - left) / (right - left) * 2 - 1
    y = (np.arange(HEIGHT) + 0.5 - top) / (bottom - top) * 2 - 1
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), axis=2))[None]
    values = torch.from_numpy(mask.astype(np.float64))[None, None]
    found: npt.NDArray[np.float64] = functional.grid_sample(values, grid, align_corners=False)[0, 0].numpy()
    return found


@pytest.mark.parametrize("box", BOXES)
def test_each_pixel_is_that_of_grid_sample(box: Box) -> None:
    mask = np.random.default_rng(1).integers(0, 256, (28, 28)).astype(np.uint8)

    found, expected = whole(pasted(mask, box, HEIGHT, WIDTH)), sampled(mask, box)

    certain = np.abs(expected - HALF) > 1e-3
    assert np.array_equal(found[certain], expected[certain] >= HALF)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (200, 10, 220, 30), (-30, -30, -1, -1), (9, 9, 3, 3)])
def test_a_box_without_a_pixel_of_the_image_gives_an_empty_mask(box: Box) -> None:
    mask = pasted(np.full((28, 28), 255, np.uint8), box, HEIGHT, WIDTH)

    assert mask.area == mask.intersection(mask) == 0


def test_a_cropped_mask_is_the_same_mask() -> None:
    mask = np.random.default_rng(2).random((HEIGHT, WIDTH)) < 0.001
    nothing = cropped(np.zeros((HEIGHT, WIDTH), bool))

    assert np.array_equal(whole(cropped(mask)), mask)
    assert cropped(mask).area == mask.sum()
    assert (nothing.area, nothing.inside.shape) == (0, (0, 0))


@pytest.mark.parametrize("seed", range(5))
def test_an_intersection_counts_the_pixels_that_both_masks_have(seed: int) -> None:
    random = np.random.default_rng(seed)
    one, two = random.random((2, HEIGHT, WIDTH)) < 0.002

    assert cropped(one).intersection(cropped(two)) == (one & two).sum()
    assert cropped(one).intersection(cropped(one)) == one.sum()


def test_masks_apart_from_each_other_do_not_intersect() -> None:
    left, right = np.zeros((2, HEIGHT, WIDTH), bool)
    left[10:20, 10:20] = right[10:20, 40:50] = True

    assert cropped(left).intersection(cropped(right)) == 0
