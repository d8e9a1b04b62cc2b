"""The head of PSANet (ECCV 2018, "Point-wise Spatial Attention Network", section 3) as in MMSegmentation.

Each pixel predicts a mask of weights for the pixels around it. One branch collects by these weights, the other
distributes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.networks.mmseg.layers import ConvModule, MmsegHead

SHRINK = 2  # the attention runs on a map with half the sides


class MmsegPSAHead(MmsegHead):
    """Point-wise attention in both directions beside the features, a 3x3 convolution and the classifier.

    `mask` is the side of the masks: 97 in the networks for Cityscapes, 66 in those for ADE20K. `inner` is the width
    between, by default a quarter of `channels` as in the published networks.
    """

    def __init__(self, channels: int, classes: int, inner: int | None = None, *, mask: int) -> None:
        inner = inner or channels // 4
        super().__init__(inner, classes)
        self.mask = mask
        self.reduce, self.attention = ConvModule(channels, inner, 1), _attention(inner, mask)
        self.reduce_p, self.attention_p = ConvModule(channels, inner, 1), _attention(inner, mask)
        self.proj = ConvModule(2 * inner, channels, 1)
        self.bottleneck = ConvModule(2 * channels, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, channels, h, w)` features to `(n, classes, h, w)` logits."""
        # A trace keeps one case. The cards of these networks have a `multiple` of 16, so the sides are even.
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        odd = not tracing and x.shape[2] % SHRINK != 0 and x.shape[3] % SHRINK != 0
        collected, distributed = (_shrunk(reduce(x), aligned=odd) for reduce in (self.reduce, self.reduce_p))
        by_pixel = masked(self.attention(collected), self.mask)
        by_source = masked(self.attention_p(distributed), self.mask).transpose(1, 2)
        both = [_weighted(collected, by_pixel), _weighted(distributed, by_source)]
        # The published network pads its 1x1 convolution, so the map grows by a pixel on each side.
        attended = self.proj(functional.pad(torch.cat(both, dim=1), (1, 1, 1, 1)))
        attended = functional.interpolate(attended, x.shape[2:], mode="bilinear", align_corners=odd)
        return self.classify(self.bottleneck(torch.cat([x, attended], dim=1)))


def masked(weights: Tensor, mask: int) -> Tensor:
    """Move weights by offset to weights by position.

    `weights` (n, mask * mask, h, w) has for each pixel the weight of each offset. The middle of the mask is its own
    place. Returns `(n, h * w, h * w)`: the weight of each position (axis 1) for each pixel (axis 2), or 0.
    """
    height, width = weights.shape[2:]
    rows, columns = (_offsets(length, mask, weights.device) for length in (height, width))
    place = rows[:, None, :, None] * mask + columns[None, :, None, :]  # (h, w, h, w)
    inside = ((rows >= 0) & (rows < mask))[:, None, :, None] & ((columns >= 0) & (columns < mask))[None, :, None, :]
    index = torch.where(inside, place, 0).reshape(1, height * width, height * width)
    found = weights.flatten(2).gather(1, index.expand(weights.shape[0], -1, -1))
    return found * inside.reshape(1, height * width, height * width)


def _offsets(length: int, mask: int, device: torch.device) -> Tensor:
    """Return the row of a mask that stands for each position (axis 0), seen from each pixel (axis 1)."""
    places = torch.arange(length, device=device)
    return places[:, None] - places + (mask - 1) // 2


def _attention(inner: int, mask: int) -> nn.Sequential:
    return nn.Sequential(ConvModule(inner, inner, 1), nn.Conv2d(inner, mask * mask, 1, bias=False))


def _shrunk(x: Tensor, *, aligned: bool) -> Tensor:
    """Return the map with half the sides, rounded up where both are odd."""
    height, width = ((side + int(aligned)) // SHRINK for side in x.shape[2:])
    return functional.interpolate(x, (height, width), mode="bilinear", align_corners=aligned)


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    """Return for each pixel the mean of `x` (n, c, h, w), by the softmax of its `weights` (n, h * w, h * w)."""
    return (x.flatten(2) @ weights.softmax(dim=1)).reshape(x.shape)
