"""Pastes the masks of detections into their boxes, and encodes each as run lengths or polygons.

This module needs arrays alone, so that a decode process can do the work for a large image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import orjson

from service.imaging import polygons, rle
from service.imaging.drawing.instance_runs import HALF, Box, Mask, Window, find_runs, outline, weights
from service.imaging.masks import BAND_PIXELS

InstanceForm = Literal["rle", "polygons"]
# The pixels of a decoded image that take as long as a column of a mask: 0.01 ms and 0.1 ms.
COLUMN_COST: Final = {"rle": 500, "polygons": 5000}


@dataclass(frozen=True)
class InstanceMask:
    """One mask: its number of pixels, and the form that was asked for: run lengths, or the JSON of polygons."""

    pixels: int
    counts: str = ""
    coordinates: bytes = b""


@dataclass(frozen=True)
class InstancePlan:
    """The masks to paste into an image of `width` x `height` pixels.

    `masks` (k, 28, 28) are 255 times the probability inside each of the `boxes`.
    """

    width: int
    height: int
    boxes: Sequence[Box]
    masks: npt.NDArray[np.uint8]
    form: InstanceForm
    tolerance: float = 0.0

    @property
    def pixels(self) -> int:
        """The estimated cost in pixels. The work grows with the width of the boxes and not with their area."""
        return COLUMN_COST[self.form] * mask_columns(self.boxes, self.width, self.height)

    def paint(self) -> list[InstanceMask]:
        """Return the masks in the order of the boxes."""
        return [self._painted(box, mask) for box, mask in zip(self.boxes, self.masks, strict=True)]

    def _painted(self, box: Box, mask: Mask) -> InstanceMask:
        runs = find_runs(mask, box, window_of(box, self.width, self.height))
        if self.form == "rle":
            return InstanceMask(runs.pixels, rle.encode_columns(*runs, (self.height, self.width)))
        faces = outline(runs, self.tolerance)
        return InstanceMask(runs.pixels, coordinates=orjson.dumps(polygons.coordinates(faces) if len(faces) else []))


def mask_columns(boxes: Sequence[Box], width: int, height: int) -> int:
    """Return the sum of the widths of all boxes in pixels, each clipped to the image."""
    windows = (window_of(box, width, height) for box in boxes)
    return sum(right - left for left, _, right, _ in windows)


def pasted_pixels(boxes: Sequence[Box], width: int, height: int) -> int:
    """Return the sum of the pixels in all boxes, each clipped to the image."""
    windows = (window_of(box, width, height) for box in boxes)
    return sum((right - left) * (bottom - top) for left, top, right, bottom in windows)


def window_of(box: Box, width: int, height: int) -> Window:
    """Return the pixels whose centres are in a box. Right and bottom are after the last pixel; a side may be 0."""
    left, top = (max(0, math.ceil(side - 0.5)) for side in box[:2])
    right, bottom = (min(most, math.floor(side - 0.5) + 1) for side, most in zip(box[2:], (width, height), strict=True))
    return left, top, max(left, right), max(top, bottom)


def paste(mask: Mask, box: Box, window: Window) -> Mask:
    """Return which pixels of a window belong to the mask of a box, 0 or 1, uint8 `(h, w)`.

    A pixel belongs to it if the probability at its centre is at least 0.5, interpolated between the centres of the
    mask's cells. Beyond the outer centres the probability falls to 0 (detectron2, `paste_masks_in_image`).
    """
    left, top, right, bottom = window
    down = weights(len(mask), box[1], box[3], top, bottom)
    across = weights(mask.shape[1], box[0], box[2], left, right).T
    lines = down @ mask.astype(np.float32)
    out = np.empty((bottom - top, right - left), np.uint8)
    step = max(1, BAND_PIXELS // max(1, right - left))
    for first in range(0, len(lines), step):
        np.greater_equal(lines[first : first + step] @ across, HALF, out=out[first : first + step].view(np.bool_))
    return out
