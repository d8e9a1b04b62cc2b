"""The runs of a pasted mask down its columns, and its outline, without an array of its pixels.

Down a column the interpolated probability is linear between the centres of two cells of the mask. So it crosses one
half at most once there, and the pixels between two centres are found from the place of the crossing. The work grows
with the width of a box and not with its area.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely

Mask = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Window = tuple[int, int, int, int]  # the same in whole pixels

# The level of a probability of 0.5, from which a pixel belongs to the mask.
HALF: Final = 127.5

# The distance in pixels from a crossing at which a pixel is on it, and belongs to the mask.
ROUNDING: Final = 1e-6


class ColumnRuns(NamedTuple):
    """The runs inside a mask, by column and then downwards: column, first pixel, pixel after the last; all `(n,)`."""

    columns: Indices
    begins: Indices
    ends: Indices

    @property
    def pixels(self) -> int:
        """The number of pixels in the mask."""
        return int((self.ends - self.begins).sum())


def weights(cells: int, start: float, end: float, first: int, last: int) -> npt.NDArray[np.float32]:
    """Return the weights `(pixels, cells)` of a mask's cells at the pixels `first` to `last` along one side."""
    position = (np.arange(first, last) + 0.5 - start) / (end - start) * cells - 0.5
    distance = np.abs(position[:, None] - np.arange(cells))
    found: npt.NDArray[np.float32] = np.maximum(0, 1 - distance).astype(np.float32)
    return found


def find_runs(mask: Mask, box: Box, window: Window) -> ColumnRuns:
    """Return the runs of the pixels in a window that belong to the mask of a box, as `instance_masks.paste` does."""
    left, top, right, bottom = window
    if left == right or top == bottom:
        return ColumnRuns(*(np.empty(0, np.int64) for _ in range(3)))
    lines = weights(mask.shape[1], box[0], box[2], left, right) @ mask.T.astype(np.float32)
    levels = np.pad(lines, ((0, 0), (1, 1))).astype(np.float64)  # at the centres of cells, and 0 beyond the outer ones
    step = len(mask) / (box[3] - box[1])  # centres per pixel
    first = (top + 0.5 - box[1]) * step + 0.5  # the place of the first pixel, counted in padded centres
    bounds = np.ceil((np.arange(levels.shape[1]) - first) / step).clip(0, bottom - top).astype(np.int64)
    before, after = levels[:, :-1], levels[:, 1:]
    differs = (before >= HALF) != (after >= HALF)
    share = np.divide(HALF - before, after - before, out=np.zeros_like(before), where=differs)
    crossing = (np.arange(before.shape[1]) + share - first) / step  # in pixels
    cut = np.where(before >= HALF, np.floor(crossing + ROUNDING) + 1, np.ceil(crossing - ROUNDING)).astype(np.int64)
    cut = cut.clip(bounds[:-1], bounds[1:])
    begins = np.where(before >= HALF, bounds[:-1], cut)
    ends = np.where(after >= HALF, bounds[1:], np.where(differs, cut, begins))
    column, segment = np.nonzero(begins < ends)
    found = ColumnRuns(column + left, begins[column, segment] + top, ends[column, segment] + top)
    return _joined(found)


def _joined(runs: ColumnRuns) -> ColumnRuns:
    """Return the runs with those that continue in the same column as one."""
    if not len(runs.columns):
        return runs
    apart = (runs.begins[1:] != runs.ends[:-1]) | (runs.columns[1:] != runs.columns[:-1])
    return ColumnRuns(runs.columns[np.r_[True, apart]], runs.begins[np.r_[True, apart]], runs.ends[np.r_[apart, True]])


def outline(runs: ColumnRuns, tolerance: float = 0.0) -> npt.NDArray[Any]:
    """Return the polygons around the pixels of the runs, along their edges.

    Pixels that only share a corner are in different polygons. With `tolerance` a vertex is removed if the triangle it
    forms with its neighbours has an area below `tolerance` squared.
    """
    if not len(runs.columns):
        return np.empty(0, object)
    segments = _segments(runs)
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(segments.astype(np.float64))))
    points, face = shapely.get_coordinates(shapely.get_exterior_ring(faces), return_index=True)
    x, y = points.astype(np.int64).T
    order = np.lexsort((x, y, face))
    highest = order[np.searchsorted(face[order], np.arange(len(faces)))]
    inside = faces[_contains(runs, x[highest], y[highest])]
    if tolerance and len(inside):
        inside = shapely.coverage_simplify(inside, tolerance, simplify_boundary=True)
    found: npt.NDArray[Any] = inside
    return found


def _segments(runs: ColumnRuns) -> Indices:
    """Return the straight edges from node to node, (n, 2, 2) of x, y. A node is a corner where an edge turns."""
    columns, rows = np.repeat(runs.columns, 2), np.stack([runs.begins, runs.ends], axis=1).ravel()
    height = int(rows.max()) + 1
    sides, counts = np.unique(np.concatenate([columns, columns + 1]) * height + np.tile(rows, 2), return_counts=True)
    outside = (np.cumsum(counts) % 2 == 1)[:-1]  # the edge down from here has the mask on one side only
    down = np.stack([sides[:-1][outside], sides[1:][outside]], axis=1)
    order = np.lexsort((columns, rows))
    columns, rows = columns[order], rows[order]
    turns = np.isin(columns[1:] * height + rows[1:], down)
    apart = (columns[1:] != columns[:-1] + 1) | (rows[1:] != rows[:-1]) | turns
    starts, stops = np.r_[True, apart], np.r_[apart, True]
    left = np.stack([columns[starts], rows[starts]], axis=1)
    right = np.stack([columns[stops] + 1, rows[stops]], axis=1)
    corners = np.stack(np.divmod(down, height), axis=2)
    return np.concatenate([corners, np.stack([left, right], axis=1)])


def _contains(runs: ColumnRuns, x: Indices, y: Indices) -> npt.NDArray[np.bool_]:
    """Return whether the pixels at x, y are in one of the runs."""
    most = int(max(runs.ends.max(initial=0), y.max(initial=0))) + 1
    last = np.searchsorted(runs.columns * most + runs.begins, x * most + y, side="right") - 1
    found: npt.NDArray[np.bool_] = (last >= 0) & (runs.columns[last] == x) & (runs.ends[last] > y)
    return found
