"""A 3x3 convolution of large dilation (arXiv 1706.05587, section 3.1) as nine 1x1 convolutions on parts of the map.

Most of what a far tap sees lies outside the map, where it is zero: of 49 x 65 pixels a corner tap of rate 36 sees 12 %.
Each tap is computed only where it sees the map, and its result is padded with zeros.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MIN_RATE = 12  # the rates of ASPP; the rates 2 and 4 of backbones see nearly everything


class CroppedTaps(nn.Module):
    """The inference form of a dilated 3x3 convolution with stride 1 that keeps the size of the map.

    The map may have any size, also in a traced module. A border of zeros, one pixel wide, keeps each part from being
    empty: a tap that sees nothing sees one row or column of zeros.
    """

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__()
        self.rate = int(source.dilation[0])
        taps = source.weight.detach().permute(2, 3, 0, 1)[..., None, None]
        self.taps = nn.ParameterList(nn.Parameter(tap.contiguous(), requires_grad=False) for tap in taps.flatten(0, 1))
        self.bias = source.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` to `(n, out, h, w)`."""
        # Of a traced module the sizes of a map are known only as a tensor.
        shifts = torch._shape_as_tensor(x).clamp(max=self.rate)
        bordered = functional.pad(x, (1, 1, 1, 1))
        out = functional.conv2d(x, self.taps[4], self.bias)
        for index, tap in enumerate(self.taps):
            if index == 4:
                continue
            part, (above, below) = _cropped(bordered, 2, index // 3 - 1, shifts[2])
            part, (left, right) = _cropped(part, 3, index % 3 - 1, shifts[3])
            out = out + functional.pad(functional.conv2d(part, tap), (left, right, above, below))
        return out


def _cropped(x: Tensor, axis: int, direction: int, shift: Any) -> tuple[Tensor, tuple[Any, Any]]:
    """Return the part of a bordered map that a tap sees along an axis, and the zeros that its result needs around."""
    if direction == 0:
        return x.narrow(axis, 1, x.shape[axis] - 2), (0, 0)
    length = x.shape[axis] - shift - 1
    if direction > 0:
        return x.narrow(axis, shift + 1, length), (0, shift - 1)
    return x.narrow(axis, 0, length), (shift - 1, 0)


def fits(conv: nn.Conv2d) -> bool:
    """Return whether `CroppedTaps` is a form of this convolution."""
    rate = conv.dilation[0]
    same = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == conv.dilation == (rate, rate)
    return same and conv.groups == 1 and rate >= MIN_RATE
