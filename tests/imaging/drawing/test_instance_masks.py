"""Masks in their boxes, compared with the published way to paste them, and with pycocotools."""

import numpy as np
import numpy.typing as npt
import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from shapely import geometry
from torch.nn import functional

from service.imaging.drawing.instance_masks import InstancePlan, mask_columns, paste, pasted_pixels, window_of
from service.imaging.drawing.instance_runs import Box

Mask = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 90, 60
SIDES = st.floats(-20, 110, allow_nan=False, width=32)


def smooth(seed: int = 0) -> Mask:
    """Return a blob of 28 x 28 probabilities with a soft border, and holes."""
    coarse = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    fine = functional.interpolate(coarse, size=(28, 28), mode="bicubic")[0, 0]
    return (fine.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def pasted_by_the_authors(mask: Mask, box: Box) -> Mask:
    """Return the whole image's mask: `_do_paste_mask` of detectron2 without its shortcut for empty parts."""
    x1, y1, x2, y2 = box
    y = (torch.arange(HEIGHT) + 0.5 - y1) / (y2 - y1) * 2 - 1
    x = (torch.arange(WIDTH) + 0.5 - x1) / (x2 - x1) * 2 - 1
    grid = torch.stack([x[None].expand(HEIGHT, -1), y[:, None].expand(-1, WIDTH)], dim=2).float()[None]
    values = functional.grid_sample(torch.from_numpy(mask)[None, None].float() / 255, grid, align_corners=False)
    return (values[0, 0] >= 0.5).numpy().astype(np.uint8)


def whole(mask: Mask, box: Box) -> Mask:
    left, top, right, bottom = window = window_of(box, WIDTH, HEIGHT)
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    image[top:bottom, left:right] = paste(mask, box, window)
    return image


@settings(deadline=None, max_examples=200)
@given(SIDES, SIDES, st.floats(0.01, 100), st.floats(0.01, 100), st.integers(0, 5))
def test_a_pixel_is_in_the_mask_as_in_the_published_code(
    left: float, top: float, width: float, height: float, seed: int
) -> None:
    box = (left, top, left + width, top + height)
    different = whole(smooth(seed), box) != pasted_by_the_authors(smooth(seed), box)
    assert different.sum() <= 1 + 0.001 * different.size  # values within rounding of 0.5


def test_a_full_mask_fills_the_pixels_whose_centres_are_in_its_box() -> None:
    full = np.full((28, 28), 255, np.uint8)
    found = whole(full, (10.0, 20.0, 38.0, 48.0))
    expected = np.zeros_like(found)
    expected[20:48, 10:38] = 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 90.0, 60.0), (0, 0, 90, 60)),
        ((-5.0, -5.0, 200.0, 200.0), (0, 0, 90, 60)),
        ((10.4, 10.6, 12.4, 12.6), (10, 11, 12, 13)),
        ((10.6, 3.0, 11.4, 9.0), (11, 3, 11, 9)),
    ],
)
def test_a_window_has_the_pixels_whose_centres_are_in_the_box(box: Box, expected: tuple[int, ...]) -> None:
    assert window_of(box, WIDTH, HEIGHT) == expected


def plan(form: str, boxes: list[Box], tolerance: float = 0.0) -> InstancePlan:
    masks = np.stack([smooth(seed) for seed in range(len(boxes))])
    return InstancePlan(WIDTH, HEIGHT, boxes, masks, form, tolerance)  # type: ignore[arg-type]


BOXES: list[Box] = [(5.2, 7.9, 70.1, 50.3), (0.0, 0.0, 90.0, 60.0), (80.5, 3.0, 89.9, 59.0), (20.6, 9.0, 20.9, 30.0)]


def test_run_lengths_are_those_of_pycocotools() -> None:
    for box, mask, found in zip(BOXES, plan("rle", BOXES).masks, plan("rle", BOXES).paint(), strict=True):
        expected = coco.encode(np.asfortranarray(whole(mask, box)))
        assert found.counts == expected["counts"].decode()
        assert found.pixels == whole(mask, box).sum()


def test_polygons_have_the_pixels_of_the_mask_and_their_holes() -> None:
    for box, mask, found in zip(BOXES, plan("rle", BOXES).masks, plan("polygons", BOXES).paint(), strict=True):
        rings = orjson.loads(found.coordinates)
        expected = whole(mask, box)
        shape = geometry.MultiPolygon([(outer, holes) for outer, *holes in rings])
        assert shape.area == expected.sum() == found.pixels
        for row, column in np.argwhere(expected)[::37]:
            assert shape.contains(geometry.Point(column + 0.5, row + 0.5))


def test_a_tolerance_leaves_fewer_vertices_also_at_the_edge_of_the_image() -> None:
    def vertices(tolerance: float) -> int:
        (found,) = plan("polygons", BOXES[1:2], tolerance).paint()
        return sum(len(ring) for polygon in orjson.loads(found.coordinates) for ring in polygon)

    assert vertices(3) < 0.5 * vertices(0)


def test_a_mask_without_a_pixel_is_empty() -> None:
    (runs,), (polygons,) = plan("rle", BOXES[3:]).paint(), plan("polygons", BOXES[3:]).paint()
    assert (runs.pixels, polygons.pixels) == (0, 0)
    assert coco.decode({"size": (HEIGHT, WIDTH), "counts": runs.counts.encode()}).sum() == 0
    assert orjson.loads(polygons.coordinates) == []


def test_the_cost_is_that_of_all_boxes_inside_the_image() -> None:
    assert pasted_pixels([(0.0, 0.0, 10.0, 10.0), (85.0, 50.0, 300.0, 300.0)], WIDTH, HEIGHT) == 100 + 50
    assert mask_columns([(0.0, 0.0, 10.0, 10.0), (85.0, 50.0, 300.0, 300.0)], WIDTH, HEIGHT) == 10 + 5
    assert plan("polygons", BOXES[1:2]).pixels > plan("rle", BOXES[1:2]).pixels > WIDTH
