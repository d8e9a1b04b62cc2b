"""The scores of the classes of a mask, and the outputs of one image from the probability of each pixel's class."""

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from service.tasks.segmentation.likeliest_head import Taps, Upsample, taps

CERTAIN: Final = 255  # the confidence of a pixel whose class has the probability 1
# The most probabilities that are computed for the scores of an image: 6 MiB. All of 150 classes at 520 by 392 pixels
# are 30 million and take 100 ms. One and a half million take 5 ms.
SAMPLED: Final = 3 << 19
BLOCK: Final = 1 << 18  # probabilities that are computed at a time: 1 MiB, which a core's cache holds


def sampling_step(classes: int, pixels: int) -> int:
    """Return the smallest n for which every n-th pixel of every n-th row takes at most `SAMPLED` probabilities."""
    return max(1, math.ceil(math.sqrt(classes * pixels / SAMPLED)))


def sampled_scores(upsample: Upsample, logits: Tensor, mask: Tensor) -> Tensor:
    """Return each class's mean probability over its own pixels, `(classes,)` float32, 0 without any.

    `logits` (classes, h/s, w/s) are the network's, `mask` (h, w) uint8 has each pixel's class. The mean is over every
    n-th pixel of every n-th row (`sampling_step`). A class that has none of those pixels is measured at all of its
    pixels.
    """
    classes = len(logits)
    step = sampling_step(classes, mask.numel())
    grid = [torch.arange(step // 2, length, step, device=mask.device) for length in mask.shape]
    axes = _axes(upsample, logits, mask)
    chosen, likely = _grid_likelihood(axes, logits, mask, *grid)
    flat = mask.flatten()
    missing = torch.bincount(chosen.flatten(), minlength=classes) < torch.bincount(flat, minlength=classes).clamp(max=1)
    if not missing.any():
        return class_scores(chosen, likely, classes)
    pixels = missing.index_select(0, flat.int()).nonzero()[:, 0]
    parts = [_likelihood(axes, logits, mask, part) for part in pixels.split(SAMPLED // classes)]
    chosen = torch.cat([chosen.flatten(), flat[pixels].long()])
    return class_scores(chosen, torch.cat([likely.flatten(), *parts]), classes)


def likelihood(upsample: Upsample, logits: Tensor, mask: Tensor) -> Tensor:
    """Return the probability of its class in the mask at each pixel, `(h, w)` float32, in the memory of some blocks.

    `logits` (classes, h/s, w/s) are the network's, `mask` (h, w) has each pixel's class.
    """
    rows, columns = (torch.arange(length, device=mask.device) for length in mask.shape)
    return _grid_likelihood(_axes(upsample, logits, mask), logits, mask, rows, columns)[1]


def _axes(upsample: Upsample, logits: Tensor, mask: Tensor) -> list[Taps]:
    """Return the taps down and across."""
    lengths = zip(logits.shape[1:], mask.shape, strict=True)
    return [taps(upsample, length, target, logits.device) for length, target in lengths]


def _grid_likelihood(
    axes: Sequence[Taps], logits: Tensor, mask: Tensor, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the class in the mask and its probability at each of some rows and columns, `(rows, columns)` both.

    `axes` has the taps down and across. Lines of the map are interpolated first, then pixels of the line. With the
    classes innermost, each step copies whole vectors: for 150 classes that takes half the time of `_likelihood`.
    """
    classes, height, width = logits.shape
    down, across = axes
    by_place = logits.permute(1, 2, 0).contiguous()
    above, left = down.first[rows], across.first[columns]
    row_weights = down.weights[:, rows, None, None]
    pairs = torch.stack([left, (left + 1).clamp(max=width - 1)], dim=1)
    pair_weights = across.weights[:, columns].T.contiguous()
    chosen = mask[rows][:, columns].long()
    found = []
    for part in torch.arange(len(rows), device=rows.device).split(max(1, BLOCK // (classes * len(columns)))):
        below = (above[part] + 1).clamp(max=height - 1)
        line = torch.addcmul(by_place[below] * row_weights[1, part], by_place[above[part]], row_weights[0, part])
        starts = torch.arange(0, len(part) * width, width, device=rows.device)
        places = (starts[:, None, None] + pairs).view(-1, 2)
        pixels = functional.embedding_bag(
            places, line.view(-1, classes), per_sample_weights=pair_weights.repeat(len(part), 1), mode="sum"
        ).view(len(part), len(columns), classes)
        found.append(pixels.softmax(dim=2).gather(2, chosen[part][:, :, None])[:, :, 0])
    return chosen, torch.cat(found)


def _likelihood(axes: Sequence[Taps], logits: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
    """Return the probability of its class in the mask for each of some pixels, `(n,)`.

    `axes` has the taps down and across, `pixels` are places in the flat mask. Only their logits are interpolated.
    """
    _, height, width = logits.shape
    down, across = axes
    row, column = pixels // mask.shape[1], pixels % mask.shape[1]
    step = torch.arange(2, device=logits.device)[:, None]
    rows = (down.first[row] + step).clamp(max=height - 1)
    columns = (across.first[column] + step).clamp(max=width - 1)
    corners = (rows[:, None] * width + columns).view(4, -1).T
    weights = (down.weights[:, row][:, None] * across.weights[:, column]).view(4, -1).T
    found = functional.embedding_bag(corners, logits.flatten(1).T, per_sample_weights=weights, mode="sum")
    return found.softmax(dim=1).gather(1, mask.flatten()[pixels].long()[:, None])[:, 0]


def class_scores(mask: Tensor, likely: Tensor, classes: int) -> Tensor:
    """Return each class's mean probability over its own pixels, `(classes,)` float32, 0 without any.

    `mask` int64 has the class of each of some pixels, `likely` that class's probability there, in one order.
    """
    flat = mask.flatten()
    sums = torch.bincount(flat, weights=likely.flatten().double(), minlength=classes)
    return (sums / torch.bincount(flat, minlength=classes).clamp(min=1)).float()


def confident(mask: Tensor, likely: Tensor, classes: int) -> dict[str, Tensor]:
    """Return `mask` (h, w) uint8, `class_scores` (classes,), and `confidence` (h, w) uint8 made of `likely`."""
    return {
        "mask": mask.to(torch.uint8),
        "class_scores": class_scores(mask, likely, classes),
        "confidence": likely.mul(CERTAIN).round().to(torch.uint8),
    }
