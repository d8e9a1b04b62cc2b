"""Polygons, rasterised again, give the mask."""

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.imaging.masks import resize
from service.imaging.polygons import Polygon, polygons

Mask = npt.NDArray[np.uint8]

MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3))


def drawn(found: dict[int, list[Polygon]], width: int, height: int) -> Mask:
    """Return the class of each pixel by the polygon that contains its centre."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    mask = np.full((height, width), 254, np.uint8)
    for class_id, parts in found.items():
        for outer, *holes in parts:
            inside = shapely.contains_xy(shapely.Polygon(outer, holes), x, y)
            assert (mask[inside] == 254).all(), "two polygons cover one pixel"
            mask[inside] = class_id
    return mask


def blobs(height: int = 60, width: int = 80) -> Mask:
    """Return a mask with round areas of three classes, one with a hole."""
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    mask[np.hypot(x - 30, y - 28) < 22] = 1
    mask[np.hypot(x - 30, y - 28) < 9] = 2
    mask[np.hypot(x - 58, y - 34) < 15] = 3
    return mask


@given(MASKS)
def test_polygons_drawn_again_are_the_mask(mask: Mask) -> None:
    height, width = mask.shape
    np.testing.assert_array_equal(drawn(polygons(mask, width, height), width, height), mask)


@given(MASKS, st.integers(1, 40), st.integers(1, 40))
def test_polygons_of_a_scaled_mask_are_those_of_the_fitted_one(mask: Mask, width: int, height: int) -> None:
    np.testing.assert_array_equal(drawn(polygons(mask, width, height), width, height), resize(mask, width, height))


def test_a_hole_is_kept_and_what_is_in_it_is_a_polygon_of_its_own() -> None:
    mask = np.zeros((5, 6), np.uint8)
    mask[1:4, 1:5] = 1
    mask[2, 2] = 2

    found = polygons(mask, 6, 5)

    assert {class_id: [len(rings) for rings in parts] for class_id, parts in found.items()} == {0: [2], 1: [2], 2: [1]}
    assert sorted(map(tuple, found[2][0][0][:-1])) == [(2, 2), (2, 3), (3, 2), (3, 3)]


def test_pixels_that_meet_in_a_corner_are_two_polygons() -> None:
    found = polygons(np.eye(2, dtype=np.uint8), 2, 2)

    assert {class_id: len(parts) for class_id, parts in found.items()} == {0: 2, 1: 2}
    assert all(shapely.Polygon(*rings).is_valid for parts in found.values() for rings in parts)


def test_a_straight_border_has_no_points_in_between() -> None:
    found = polygons(np.zeros((40, 30), np.uint8), 300, 400)

    assert sorted(map(tuple, found[0][0][0][:-1])) == [(0, 0), (0, 400), (300, 0), (300, 400)]


@pytest.mark.parametrize("tolerance", [3.0, 5.0, 10.0])
def test_simplified_neighbours_share_their_border(tolerance: float) -> None:
    exact, found = polygons(blobs(), 160, 120), polygons(blobs(), 160, 120, tolerance)
    faces = [shapely.Polygon(outer, holes) for parts in found.values() for outer, *holes in parts]

    assert shapely.coverage_is_valid(faces)
    assert sum(face.area for face in faces) == pytest.approx(160 * 120)
    assert sum(map(points, found.values())) < sum(map(points, exact.values())) / 2


def points(parts: list[Polygon]) -> int:
    return sum(len(ring) for rings in parts for ring in rings)


def test_a_simplified_border_stays_near_the_pixels() -> None:
    found = drawn(polygons(blobs(), 80, 60, 2.0), 80, 60)

    assert 0 < np.mean(found != blobs()) < 0.03
