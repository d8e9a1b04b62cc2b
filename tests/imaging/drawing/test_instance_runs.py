"""Runs and outlines of masks, compared with the pixels that `paste` finds."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from service.imaging.drawing.instance_masks import paste, window_of
from service.imaging.drawing.instance_runs import Box, ColumnRuns, Mask, find_runs, outline
from tests.imaging.drawing.test_instance_masks import HEIGHT, SIDES, WIDTH, smooth, whole


def drawn(runs: ColumnRuns) -> Mask:
    """Return the image with the runs."""
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    for column, begin, end in zip(*runs, strict=True):
        assert not image[begin:end, column].any()
        image[begin:end, column] = 1
    return image


def noise(seed: int) -> Mask:
    return np.random.default_rng(seed).integers(0, 256, (28, 28), np.uint8)


@settings(deadline=None, max_examples=200)
@given(SIDES, SIDES, st.floats(0.01, 200), st.floats(0.01, 200), st.integers(0, 5), st.sampled_from([smooth, noise]))
def test_the_runs_are_the_pixels_of_the_pasted_mask(
    left: float, top: float, width: float, height: float, seed: int, kind: object
) -> None:
    box = (left, top, left + width, top + height)
    mask = kind(seed)  # type: ignore[operator]
    found = drawn(find_runs(mask, box, window_of(box, WIDTH, HEIGHT)))
    assert (found != whole(mask, box)).sum() <= 1 + 0.001 * found.size  # values within rounding of 0.5


@pytest.mark.parametrize("box", [(0.0, 0.0, 90.0, 60.0), (3.3, 2.2, 61.7, 58.4)])
@pytest.mark.parametrize("kind", [smooth, noise])
def test_an_outline_covers_exactly_the_pixels_of_the_runs(box: Box, kind: object) -> None:
    runs = find_runs(kind(1), box, window_of(box, WIDTH, HEIGHT))  # type: ignore[operator]
    image, shape = drawn(runs), shapely.multipolygons(outline(runs))
    assert shape.is_valid
    assert shape.area == image.sum() == runs.pixels
    rows, columns = np.indices(image.shape)
    np.testing.assert_array_equal(shapely.contains_xy(shape, columns + 0.5, rows + 0.5), image)


def test_an_outline_has_a_vertex_only_where_it_turns() -> None:
    full = np.full((28, 28), 255, np.uint8)
    (square,) = outline(find_runs(full, (10.0, 20.0, 40.0, 50.0), (10, 20, 40, 50)))
    assert square.equals(shapely.box(10, 20, 40, 50))
    assert shapely.get_num_coordinates(square) == 5


def test_pixels_that_share_a_corner_are_in_different_polygons() -> None:
    runs = ColumnRuns(np.array([0, 1]), np.array([0, 1]), np.array([1, 2]))
    assert {each.bounds for each in outline(runs)} == {(0, 0, 1, 1), (1, 1, 2, 2)}


def test_a_hole_is_no_polygon() -> None:
    runs = ColumnRuns(np.array([0, 1, 1, 2]), np.array([0, 0, 2, 0]), np.array([3, 1, 3, 3]))
    (ring,) = outline(runs)
    assert ring.area == 8
    assert len(ring.interiors) == 1


def test_nothing_has_no_outline() -> None:
    box = (5.6, 3.0, 5.9, 9.0)
    runs = find_runs(smooth(), box, window_of(box, WIDTH, HEIGHT))
    assert runs.pixels == 0
    assert len(outline(runs)) == 0
    assert paste(smooth(), box, window_of(box, WIDTH, HEIGHT)).size == 0
