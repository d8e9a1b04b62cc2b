"""Outlines of masks, and the one ring of them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from service.cli.predict.annotations import outlines
from tests.cli.predict.annotations.made_results import HEIGHT, WIDTH, ring


def area(points: Sequence[tuple[float, float]]) -> float:
    """Return the area that a ring encloses, by the shoelace formula."""
    x, y = np.array(points).T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def test_an_exact_outline_encloses_the_pixels_of_the_mask() -> None:
    outline = outlines.of_mask(ring(), 0)

    areas = [[abs(area(each[:-1])) for each in polygon] for polygon in outline]
    assert sorted(len(each) for each in areas) == [1, 2]
    assert sum(outer - sum(holes) for outer, *holes in areas) == ring().sum()


def test_one_ring_encloses_the_same_area_with_its_holes_and_parts() -> None:
    joined = outlines.one_ring(outlines.of_mask(ring(), 0))

    assert abs(area(joined)) == ring().sum()


def test_one_ring_is_drawn_as_the_mask_but_for_its_lines() -> None:
    scale = 8
    image = Image.new("1", (WIDTH * scale, HEIGHT * scale))
    points = [(x * scale, y * scale) for x, y in outlines.one_ring(outlines.of_mask(ring(), 0))]
    ImageDraw.Draw(image).polygon(points, fill=1)

    drawn = np.asarray(image)[scale // 2 :: scale, scale // 2 :: scale]

    assert (drawn != ring()).sum() <= 2


def test_a_mask_without_pixels_has_no_ring() -> None:
    assert outlines.one_ring(outlines.of_mask(np.zeros((4, 4), bool), 1)) == []


def test_a_tolerance_removes_vertices() -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    disc = (rows - 20) ** 2 + (columns - 30) ** 2 < 225

    exact, simple = (outlines.one_ring(outlines.of_mask(disc, tolerance)) for tolerance in (0, 2))

    assert len(simple) < len(exact) / 2
    assert abs(area(simple)) > 0.9 * disc.sum()
