"""The plan of the passes of `quality=best`: the sizes of the image, and the windows at each size.

This is the protocol of PyTorch-Encoding's MultiEvalModule, with which the scores of its segmenters were measured.
"""

import math
from dataclasses import dataclass

from service.models.inputs import Input, Multiscale

OVERLAP = 3  # neighbouring windows overlap by a third of their side
SIDE_MULTIPLE = 8  # of a window's side: the output stride of the networks
MIRRORED = 2  # passes for each window: as it is, and mirrored


@dataclass(frozen=True)
class View:
    """The image at one scale: its height and width in pixels, and the upper left corners (top, left) of its windows.

    A window is black where it extends beyond the image.
    """

    height: int
    width: int
    corners: tuple[tuple[int, int], ...]


def window(spec: Input, protocol: Multiscale) -> int:
    """Return the side of a window in pixels: the card's, or 12/13 of the side of a single pass (480 of 520)."""
    return protocol.window or max(SIDE_MULTIPLE, spec.square * 12 // 13 // SIDE_MULTIPLE * SIDE_MULTIPLE)


def views(spec: Input, protocol: Multiscale, height: int, width: int) -> list[View]:
    """Return a view of an image of this size for each scale. Scale 1 is the size of a single pass."""
    long, side = max(height, width), window(spec, protocol)
    single = min(spec.size, (spec.short or spec.size) * long / min(height, width))
    found = []
    for scale in protocol.scales:
        longest = math.ceil(single * scale)
        rows, columns = (
            longest if each == long else max(1, int(each * longest / long + 0.5)) for each in (height, width)
        )
        corners = tuple((top, left) for top in _starts(rows, side) for left in _starts(columns, side))
        found.append(View(rows, columns, corners))
    return found


def cost(spec: Input, protocol: Multiscale) -> float:
    """Return the work for a square image, as a multiple of a single pass."""
    side = window(spec, protocol)
    windows = sum(len(view.corners) for view in views(spec, protocol, spec.square, spec.square))
    return MIRRORED * windows * side**2 / spec.square**2


def _starts(length: int, side: int) -> range:
    """Return the positions of the windows along a side of the image."""
    stride = int(side * (OVERLAP - 1) / OVERLAP)
    count = max(0, math.ceil((length - side) / stride)) + 1
    return range(0, count * stride, stride)
