"""Draw the masks of COCO annotations: polygons, run lengths, and compressed run lengths, as pycocotools does."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.imaging import rle
from service.models.cards import CardError

Flags = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]
FINER: Final = 5  # points along a polygon's edge are computed on a grid that is finer by this factor


def draw(segmentation: Any, height: int, width: int) -> Flags:
    """Return the mask `(height, width)` of a `segmentation`: a list of polygons, or run lengths with their `size`.

    Raises `CardError` for anything else.
    """
    try:
        if isinstance(segmentation, list):
            return _union([polygon(each, height, width) for each in segmentation], height, width)
        counts, size = segmentation["counts"], segmentation["size"]
        if list(size) != [height, width]:
            raise ValueError(f"its size is {size}, and the image is {[height, width]}")
        lengths = rle.lengths(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
        return rle.draw(lengths, height, width)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CardError(f"the segmentation of an annotation cannot be read: {error}") from error


def _union(masks: Sequence[Flags], height: int, width: int) -> Flags:
    union: Flags = np.logical_or.reduce([np.zeros((height, width), bool), *masks])
    return union


def polygon(corners: Sequence[float], height: int, width: int) -> Flags:
    """Return the mask of a polygon, given as x1, y1, x2, y2 … in pixels (pycocotools, common/maskApi.c, rleFrPoly)."""
    points = np.asarray(corners, np.float64).reshape(-1, 2)
    if not len(points):
        return np.zeros((height, width), bool)
    fine = np.trunc(FINER * points + 0.5).astype(np.int64)
    edges = np.concatenate([fine, np.roll(fine, -1, axis=0)], axis=1)
    x, y = np.concatenate([_edge(*each) for each in edges.tolist()], axis=1)
    column, row = _crossings(x, y, height, width)
    # Down the columns, each crossing changes between outside and inside.
    changes = np.bincount(column * height + row, minlength=height * width + 1)[: height * width]
    inside: Flags = (np.cumsum(changes) % 2 == 1).reshape(width, height).T
    return inside


def _edge(x1: int, y1: int, x2: int, y2: int) -> Whole:
    """Return the points `(2, n)` of the fine grid along an edge, from its first to its second end."""
    across, down = abs(x2 - x1), abs(y2 - y1)
    swap = (across >= down and x1 > x2) or (across < down and y1 > y2)
    if swap:
        x1, y1, x2, y2 = x2, y2, x1, y1
    steps = np.arange(max(across, down) + 1)
    if swap:
        steps = steps[::-1]
    if across >= down:
        slope = (y2 - y1) / across if across else 0.0
        return np.stack([steps + x1, np.trunc(y1 + slope * steps + 0.5).astype(np.int64)])
    return np.stack([np.trunc(x1 + (x2 - x1) / down * steps + 0.5).astype(np.int64), steps + y1])


def _crossings(x: Whole, y: Whole, height: int, width: int) -> tuple[Whole, Whole]:
    """Return column and row of the pixels in whose column the outline crosses the centre."""
    moved = np.flatnonzero(x[1:] != x[:-1])
    before, after = x[moved], x[moved + 1]
    column = (np.where(after < before, after, after - 1) + 0.5) / FINER - 0.5
    row = (np.minimum(y[moved], y[moved + 1]) + 0.5) / FINER - 0.5
    inside = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    return column[inside].astype(np.int64), np.ceil(row[inside].clip(0, height)).astype(np.int64)
