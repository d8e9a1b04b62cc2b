"""Converts a mask of class ids to polygons along its pixel edges. Neighbours share every vertex of their border.

The edges between pixels of different classes form a planar graph. GEOS makes its faces, with their holes, and
simplifies them as a coverage: a border changes for both of its sides or not at all.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from service.imaging.masks import Mask, nearest_indices, resize

Points = npt.NDArray[np.int64]
Faces = npt.NDArray[np.object_]
Polygon = list[list[list[int]]]


def polygons(mask: Mask, width: int, height: int, tolerance: float = 0.0) -> dict[int, list[Polygon]]:
    """Return the polygons of each class by class id, for the mask that `masks.resize` scales to `width` x `height`.

    A polygon is the coordinates of a GeoJSON Polygon (RFC 7946, section 3.1.6). It has closed rings of `[x, y]` in
    pixels from the upper left corner: the outer ring, then its holes. Pixels that only share a corner are in different
    polygons. With `tolerance` 0 the polygons cover exactly the pixels of their class. Otherwise a vertex is removed if
    the triangle it forms with its neighbours has an area below `tolerance` squared (Visvalingam and Whyatt). Vertices
    on the image's edge and where three classes meet are never removed.
    """
    if width < mask.shape[1] or height < mask.shape[0]:
        mask = resize(mask, width, height)
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(_borders(mask).astype(np.float64))))
    classes = _classes(mask, faces)
    faces = shapely.transform(faces, _scale(mask, width, height))
    if tolerance:
        faces = shapely.coverage_simplify(faces, tolerance, simplify_boundary=False)
    return {int(class_id): coordinates(faces[classes == class_id]) for class_id in np.unique(classes)}


def _borders(mask: Mask) -> Points:
    """Return the straight edges between classes and around the image, from node to node: (n, 2, 2) of x, y.

    A node is a corner of a pixel where an edge turns or meets another.
    """
    height, width = mask.shape
    across = np.zeros((height + 1, width + 1), bool)  # an edge from this corner to the next one on the right
    across[[0, -1], :-1] = True
    across[1:-1, :-1] = mask[1:] != mask[:-1]
    down = np.zeros((height + 1, width + 1), bool)  # an edge from this corner to the next one below
    down[:-1, [0, -1]] = True
    down[:-1, 1:-1] = mask[:, 1:] != mask[:, :-1]
    left = np.pad(across[:, :-1], ((0, 0), (1, 0)))
    above = np.pad(down[:-1], ((1, 0), (0, 0)))
    nodes = (left != across) | (above != down) | (left & above)
    flipped = _between(nodes.T, down.T)[..., ::-1]
    return np.concatenate([_between(nodes, across), flipped])


def _between(nodes: npt.NDArray[np.bool_], edges: npt.NDArray[np.bool_]) -> Points:
    """Return the edges from each node to the next one in its row, if they are connected: (n, 2, 2) of column, row."""
    points = np.stack(np.nonzero(nodes), axis=1)[:, ::-1]
    begin, end = points[:-1], points[1:]
    connected = (begin[:, 1] == end[:, 1]) & edges[begin[:, 1], begin[:, 0]]
    return np.stack([begin[connected], end[connected]], axis=1)


def _classes(mask: Mask, faces: Faces) -> Mask:
    """Return the class of each face: that of the pixel below the leftmost of its topmost vertices."""
    points, face = shapely.get_coordinates(shapely.get_exterior_ring(faces), return_index=True)
    x, y = points.astype(np.int64).T
    order = np.lexsort((x, y, face))
    first = order[np.searchsorted(face[order], np.arange(len(faces)))]
    classes: Mask = mask[y[first], x[first]]
    return classes


def _scale(mask: Mask, width: int, height: int) -> Any:
    """Return a function that scales vertices of the mask to `width` x `height`, by the arithmetic of `masks.resize`."""
    columns = _edges(mask.shape[1], width)
    rows = _edges(mask.shape[0], height)

    def scaled(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = points.astype(np.int64).T
        return np.stack([columns[x], rows[y]], axis=1).astype(np.float64)

    return scaled


def _edges(source: int, target: int) -> npt.NDArray[np.int64]:
    """Return where each of `source` pixels begins among `target` pixels, and where the last one ends."""
    return np.searchsorted(nearest_indices(source, target), np.arange(source + 1))


def coordinates(faces: Faces) -> list[Polygon]:
    """Return the coordinates of a GeoJSON MultiPolygon. They are integers: simplification does not move vertices."""
    _, points, (ring_ends, face_ends) = shapely.to_ragged_array(shapely.orient_polygons(faces))
    vertices = points.astype(np.int64).tolist()
    rings = [vertices[begin:end] for begin, end in pairwise(ring_ends)]
    return [rings[begin:end] for begin, end in pairwise(face_ends)]
