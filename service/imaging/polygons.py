"""A mask of class ids as polygons along the edges of its pixels, so that neighbours share every point of their border.

The edges between pixels of different classes are a plane graph; GEOS makes its faces, with their holes, and simplifies
them as a coverage: a border is changed for both its sides, or not at all.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from service.imaging.masks import Mask, fit, nearest

Points = npt.NDArray[np.int64]
Faces = npt.NDArray[np.object_]
Polygon = list[list[list[int]]]


def polygons(mask: Mask, width: int, height: int, tolerance: float = 0.0) -> dict[int, list[Polygon]]:
    """The polygons of each class of the mask at `width` x `height` pixels, as `masks.fit` scales it, by class id.

    A polygon is the coordinates of a GeoJSON Polygon (RFC 7946, section 3.1.6): rings of `[x, y]`, the outer one
    first and then its holes, each closed, in pixels from the upper left corner. Pixels that meet in a corner alone are
    in different polygons. With `tolerance` 0 they hold exactly the pixels of their class; otherwise a point goes
    wherever its triangle with its neighbours is smaller than `tolerance` squared (Visvalingam and Whyatt), but never
    on the picture's edge or where three classes meet.
    """
    if width < mask.shape[1] or height < mask.shape[0]:
        mask = fit(mask, width, height)
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(_borders(mask).astype(np.float64))))
    classes = _classes(mask, faces)
    faces = shapely.transform(faces, _scale(mask, width, height))
    if tolerance:
        faces = shapely.coverage_simplify(faces, tolerance, simplify_boundary=False)
    return {int(class_id): _coordinates(faces[classes == class_id]) for class_id in np.unique(classes)}


def _borders(mask: Mask) -> Points:
    """The straight edges between classes, and around the picture, from node to node: (n, 2, 2) of x, y.

    A node is a corner of a pixel where an edge turns or ends in another.
    """
    height, width = mask.shape
    across = np.zeros((height + 1, width + 1), bool)  # from the corner to the next one on the right
    across[[0, -1], :-1] = True
    across[1:-1, :-1] = mask[1:] != mask[:-1]
    down = np.zeros((height + 1, width + 1), bool)  # from the corner to the next one below
    down[:-1, [0, -1]] = True
    down[:-1, 1:-1] = mask[:, 1:] != mask[:, :-1]
    left = np.pad(across[:, :-1], ((0, 0), (1, 0)))
    above = np.pad(down[:-1], ((1, 0), (0, 0)))
    nodes = (left != across) | (above != down) | (left & above)
    flipped = _between(nodes.T, down.T)[..., ::-1]
    return np.concatenate([_between(nodes, across), flipped])


def _between(nodes: npt.NDArray[np.bool_], edges: npt.NDArray[np.bool_]) -> Points:
    """The edges from each node to the next one of its row, where there is one: (n, 2, 2) of column, row."""
    points = np.stack(np.nonzero(nodes), axis=1)[:, ::-1]
    begin, end = points[:-1], points[1:]
    joined = (begin[:, 1] == end[:, 1]) & edges[begin[:, 1], begin[:, 0]]
    return np.stack([begin[joined], end[joined]], axis=1)


def _classes(mask: Mask, faces: Faces) -> Mask:
    """The class of each face: that of the pixel below the leftmost of its highest points."""
    points, face = shapely.get_coordinates(shapely.get_exterior_ring(faces), return_index=True)
    x, y = points.astype(np.int64).T
    order = np.lexsort((x, y, face))
    first = order[np.searchsorted(face[order], np.arange(len(faces)))]
    classes: Mask = mask[y[first], x[first]]
    return classes


def _scale(mask: Mask, width: int, height: int) -> Any:
    """What takes points of the mask to those of its enlargement, by the arithmetic of `masks.fit`."""
    columns = _edges(mask.shape[1], width)
    rows = _edges(mask.shape[0], height)

    def scaled(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = points.astype(np.int64).T
        return np.stack([columns[x], rows[y]], axis=1).astype(np.float64)

    return scaled


def _edges(of: int, to: int) -> npt.NDArray[np.int64]:
    """Where each of `of` pixels begins among `to`, and where the last ends."""
    return np.searchsorted(nearest(of, to), np.arange(of + 1))


def _coordinates(faces: Faces) -> list[Polygon]:
    """The coordinates of polygons; whole numbers, because simplifying moves no point."""
    _, points, (ring_ends, face_ends) = shapely.to_ragged_array(shapely.orient_polygons(faces))
    told = points.astype(np.int64).tolist()
    rings = [told[begin:end] for begin, end in pairwise(ring_ends)]
    return [rings[begin:end] for begin, end in pairwise(face_ends)]
