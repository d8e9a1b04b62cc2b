"""The masks of objects, each kept as the part of the image that has its pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.imaging.drawing import instance_masks
from service.imaging.drawing.instance_runs import Box
from service.imaging.masks import Mask

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CroppedMask:
    """The pixels of an object inside `shape` (height, width), with the corner at `top` and `left` of the image."""

    top: int
    left: int
    inside: Flags

    @property
    def area(self) -> int:
        """The number of pixels."""
        return int(np.count_nonzero(self.inside))

    def intersection(self, other: "CroppedMask") -> int:
        """Return the number of pixels that both have."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(each.top + each.inside.shape[0] for each in (self, other))
        right = min(each.left + each.inside.shape[1] for each in (self, other))
        if bottom <= top or right <= left:
            return 0
        one, two = (
            each.inside[top - each.top : bottom - each.top, left - each.left : right - each.left]
            for each in (self, other)
        )
        return int(np.count_nonzero(one & two))


def cropped(mask: Flags) -> CroppedMask:
    """Return the part of a mask `(h, w)` that has pixels of the object."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return CroppedMask(0, 0, np.zeros((0, 0), bool))
    top, left = int(rows[0]), int(columns[0])
    return CroppedMask(top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1])


def pasted(mask: Mask, box: Box, height: int, width: int) -> CroppedMask:
    """Return the mask `(28, 28)` of 0 to 255, pasted into `box` of an image, as it is served."""
    left, top, right, bottom = window = instance_masks.window_of(box, width, height)
    if right <= left or bottom <= top:
        return CroppedMask(0, 0, np.zeros((0, 0), bool))
    return CroppedMask(top, left, instance_masks.paste(mask, box, window).view(bool))
