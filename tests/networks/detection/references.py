"""Slow, plain versions of the arithmetic, as the papers and the published code write it, one number at a time."""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def iou(a: Array, b: Array) -> float:
    """Return the intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return float(width * height / (areas - width * height))


def nms(boxes: Array, scores: Array, threshold: float) -> list[int]:
    """Return what the greedy loop keeps, best first."""
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda each: -scores[each]):
        if all(iou(boxes[index], boxes[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


def roi_align(feature: Array, box: Array, stride: int, bins: int) -> Array:
    """Return the features `(c, bins, bins)` of one box over one map `(c, h, w)`."""
    channels = len(feature)
    x1, y1, x2, y2 = (coordinate / stride - 0.5 for coordinate in box)
    across, down = (x2 - x1) / bins, (y2 - y1) / bins
    out = np.zeros((channels, bins, bins))
    if x2 <= x1 or y2 <= y1:
        return out
    columns, rows = max(1, math.ceil(across)), max(1, math.ceil(down))
    for bin_row in range(bins):
        for bin_column in range(bins):
            for row in range(rows):
                for column in range(columns):
                    y = y1 + (bin_row + (row + 0.5) / rows) * down
                    x = x1 + (bin_column + (column + 0.5) / columns) * across
                    out[:, bin_row, bin_column] += bilinear(feature, y, x)
    found: Array = out / (rows * columns)
    return found


def bilinear(feature: Array, y: float, x: float) -> Array:
    """Return the value `(c,)` at a point of a map; 0 more than a pixel outside it."""
    _, height, width = feature.shape
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(len(feature))
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    below, beside = y - top, x - left
    upper = feature[:, top, left] * (1 - beside) + feature[:, top, right] * beside
    lower = feature[:, bottom, left] * (1 - beside) + feature[:, bottom, right] * beside
    found: Array = upper * (1 - below) + lower * below
    return found
