"""Outlines of objects: polygons with holes, and the one ring that formats without holes take."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely

from service.imaging.polygons import polygons

Point = tuple[float, float]
Ring = Sequence[Point]
Outline = Sequence[Sequence[Ring]]  # polygons: of each the closed outer ring, then its closed holes


def of_mask(mask: npt.NDArray[np.bool_], tolerance: float) -> Outline:
    """Return the outline of the pixels of a mask `(h, w)`, simplified by `tolerance` in pixels as the service does."""
    height, width = mask.shape
    found = polygons(mask.astype(np.uint8), width, height, tolerance).get(1, [])
    return [[[(x, y) for x, y in ring] for ring in polygon] for polygon in found]


def one_ring(outline: Outline) -> list[Point]:
    """Return all rings of an outline as one open ring, which encloses the same area.

    A ring is joined to the others by a line of no width, there and back, between their nearest vertices.
    Ultralytics' converter of COCO's annotations joins the parts of an object in this way, too.
    """
    rings = [list(ring[:-1]) for polygon in outline for ring in polygon]
    joined = rings[0] if rings else []
    for ring in rings[1:]:
        here, there = _nearest(joined, ring)
        joined = [*joined[: here + 1], *ring[there:], *ring[: there + 1], *joined[here:]]
    return joined


def _nearest(one: Sequence[Point], other: Sequence[Point]) -> tuple[int, int]:
    """Return the places of the two vertices of two rings that are nearest to each other."""
    pairs, distances = shapely.STRtree(shapely.points(one)).query_nearest(
        shapely.points(other), return_distance=True, all_matches=False
    )
    nearest = int(distances.argmin())
    return int(pairs[1, nearest]), int(pairs[0, nearest])
