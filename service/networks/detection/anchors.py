"""The anchors of the region proposal network (Faster R-CNN, arXiv 1506.01497, section 3.1.1; FPN, section 4.1)."""

import torch
from torch import Tensor

STRIDES = (4, 8, 16, 32, 64)  # in pixels, of the levels P2 to P6
RATIOS = (0.5, 1.0, 2.0)  # height to width, in the order of the channels
SIZE_IN_STRIDES = 8  # the square root of an anchor's area


def cell_anchors(size: float) -> Tensor:
    """Return the anchors `(3, 4)` around the origin, of area `size` squared."""
    widths = torch.tensor([size / ratio**0.5 for ratio in RATIOS])
    heights = torch.tensor([size * ratio**0.5 for ratio in RATIOS])
    return torch.stack([-widths / 2, -heights / 2, widths / 2, heights / 2], dim=1)


def level_anchors(rows: int, columns: int, stride: int, device: torch.device) -> Tensor:
    """Return the anchors `(rows * columns * 3, 4)` of one level, by row, then column, then ratio.

    They are centred on multiples of the stride, without an offset of half a cell.
    """
    base = cell_anchors(SIZE_IN_STRIDES * stride).to(device)
    x = torch.arange(columns, device=device, dtype=torch.float32) * stride
    y = torch.arange(rows, device=device, dtype=torch.float32) * stride
    shift_y, shift_x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([shift_x, shift_y, shift_x, shift_y], dim=2).view(-1, 1, 4)
    return (shifts + base).view(-1, 4)
