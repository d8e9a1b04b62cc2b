"""The many passes of `quality=best`: at which sizes, and through which windows, a picture is seen.

It is the protocol of PyTorch-Encoding's MultiEvalModule, by which its segmenters' scores were measured.
"""

import math
from dataclasses import dataclass

from service.models.inputs import Input, Multiscale

OVERLAP = 3  # windows overlap by one part in so many
GRAIN = 8  # a window's side is a multiple of it: the output stride of the networks
MIRRORED = 2  # each window is seen as it is and mirrored


@dataclass(frozen=True)
class View:
    """The picture at one scale: its sides, and the upper left corners (top, left) of the windows it is seen through.

    Where a window reaches beyond the picture there is black.
    """

    height: int
    width: int
    corners: tuple[tuple[int, int], ...]


def window(spec: Input, best: Multiscale) -> int:
    """The side of a window in pixels: the card's, or 480 for a long side of 520 and in proportion."""
    return best.window or max(GRAIN, spec.square * 12 // 13 // GRAIN * GRAIN)


def views(spec: Input, best: Multiscale, height: int, width: int) -> list[View]:
    """What is seen of a picture of these sides, scale by scale. A scale of 1 is the size of a single pass."""
    long, side = max(height, width), window(spec, best)
    single = min(spec.size, (spec.short or spec.size) * long / min(height, width))
    found = []
    for scale in best.scales:
        longest = math.ceil(single * scale)
        rows, columns = (
            longest if each == long else max(1, int(each * longest / long + 0.5)) for each in (height, width)
        )
        corners = tuple((top, left) for top in _places(rows, side) for left in _places(columns, side))
        found.append(View(rows, columns, corners))
    return found


def cost(spec: Input, best: Multiscale) -> float:
    """How many times the work of a single pass it is, for a square picture."""
    side = window(spec, best)
    seen = sum(len(view.corners) for view in views(spec, best, spec.square, spec.square))
    return MIRRORED * seen * side**2 / spec.square**2


def _places(length: int, side: int) -> range:
    stride = int(side * (OVERLAP - 1) / OVERLAP)
    count = max(0, math.ceil((length - side) / stride)) + 1
    return range(0, count * stride, stride)
