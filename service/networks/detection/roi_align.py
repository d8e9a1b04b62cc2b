"""RoIAlign (Mask R-CNN, arXiv 1703.06870, section 3) over the levels of a feature pyramid, in plain torch.

A bin of the output is a weighted sum of pixels, because bilinear interpolation and the average over samples are both
linear. So each bin is one bag of `embedding_bag` over a table of all pixels of all levels. This takes a third of the
time of OpenVINO's own operation, and needs no compiled extension.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from service.networks.detection import boxes as geometry

# Samples in a bin are padded to one of these, so that few different shapes occur.
SAMPLE_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
FINEST = 56.0  # boxes with a smaller square root of the area than twice this use the finest level, P2


class Pyramid(NamedTuple):
    """The pixels `(sum of h * w, c)` of all levels, and each level's first pixel, height, width and stride."""

    table: Tensor
    first: Tensor
    height: Tensor
    width: Tensor
    stride: Tensor


def pyramid(maps: tuple[Tensor, ...], strides: tuple[int, ...]) -> Pyramid:
    """Return the pyramid of maps `(1, c, h, w)`, finest first."""
    device = maps[0].device
    rows = [each[0].permute(1, 2, 0).reshape(-1, each.shape[1]) for each in maps]
    counts = torch.tensor([0, *(len(each) for each in rows[:-1])], device=device)
    height = torch.tensor([each.shape[2] for each in maps], device=device)
    width = torch.tensor([each.shape[3] for each in maps], device=device)
    return Pyramid(torch.cat(rows), counts.cumsum(0), height, width, torch.tensor(strides, device=device))


def level_of(boxes: Tensor, levels: int, epsilon: float) -> Tensor:
    """Return the index `(n,)` of the level of each box (FPN, arXiv 1612.03144, equation 1).

    `epsilon` is added before the logarithm: the families' code differs in it.
    """
    level = torch.floor(torch.log2(geometry.area(boxes).clamp(min=0).sqrt() / FINEST + epsilon))
    return level.clamp(0, levels - 1).long()


def roi_align(maps: Pyramid, boxes: Tensor, bins: int, *, epsilon: float = 0.0) -> Tensor:
    """Return the features `(n, c, bins, bins)` of boxes `(n, 4)` in pixels of the network's input.

    This is the aligned variant (half a pixel is subtracted) with an adaptive number of samples: one for each pixel of a
    bin's side, rounded up. Samples outside the map count as 0. A box without an area gets zeros.
    """
    levels = level_of(boxes, len(maps.stride), epsilon)
    scaled = boxes / maps.stride[levels, None] - 0.5
    start, size = scaled[:, :2], scaled[:, 2:] - scaled[:, :2]
    samples = torch.ceil(size / bins).clamp(min=1).long()  # (n, 2), across and down
    padded = torch.bucketize(samples, torch.tensor(SAMPLE_COUNTS, device=boxes.device))
    out = maps.table.new_zeros(len(boxes), bins * bins, maps.table.shape[1])
    valid = geometry.not_empty(boxes)
    for group in torch.unique(padded[valid], dim=0):
        chosen = (valid & (padded == group).all(dim=1)).nonzero().squeeze(1)
        across = _taps(start, size, samples, chosen, 0, int(group[0]), bins, maps.width[levels])
        down = _taps(start, size, samples, chosen, 1, int(group[1]), bins, maps.height[levels])
        out[chosen] = _bags(maps, levels[chosen], across, down, bins)
    return out.transpose(1, 2).reshape(len(boxes), maps.table.shape[1], bins, bins)


def _taps(
    start: Tensor, size: Tensor, samples: Tensor, chosen: Tensor, axis: int, group: int, bins: int, extent: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the pixels `(n, bins, taps)` that the bins need along an axis, and their weights, which sum to 1 or less.

    Samples beyond a pixel's width outside the map weigh 0 but count in the average. Others are moved to its border.
    """
    most = SAMPLE_COUNTS[group] if group < len(SAMPLE_COUNTS) else int(samples[chosen, axis].max())
    first, step = start[chosen, axis, None, None], (size[chosen, axis] / bins)[:, None, None]
    count, limit = samples[chosen, axis, None, None], extent[chosen, None, None]
    index = torch.arange(most, device=start.device)
    position = first + (torch.arange(bins, device=start.device)[:, None] + (index + 0.5) / count) * step
    counted = (index < count) & (position >= -1) & (position <= limit)
    inside = torch.minimum(position.clamp(min=0), (limit - 1).to(position.dtype))
    low = inside.floor()
    fraction = inside - low
    base = low[..., :1]
    taps = most + 1
    weight = position.new_zeros(*position.shape[:2], taps)
    place = (low - base).clamp(0, taps - 1).long()
    share = counted / count
    weight.scatter_add_(2, place, (1 - fraction) * share)
    weight.scatter_add_(2, (place + 1).clamp(max=taps - 1), fraction * share)
    pixels = base.long() + torch.arange(taps, device=start.device)
    return torch.minimum(pixels, limit - 1), weight


def _bags(
    maps: Pyramid, levels: Tensor, across: tuple[Tensor, Tensor], down: tuple[Tensor, Tensor], bins: int
) -> Tensor:
    """Return the features `(n, bins * bins, c)` of boxes with the given pixels and weights along both axes."""
    (x, x_weight), (y, y_weight) = across, down
    row = maps.first[levels, None, None] + y * maps.width[levels, None, None]  # (n, bins, taps)
    index = row[:, :, None, :, None] + x[:, None, :, None, :]  # (n, bins, bins, taps down, taps across)
    weight = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
    taps = index.shape[3] * index.shape[4]
    found = functional.embedding_bag(
        index.reshape(-1, taps), maps.table, mode="sum", per_sample_weights=weight.reshape(-1, taps)
    )
    return found.view(len(levels), bins * bins, -1)
