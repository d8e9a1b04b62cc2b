"""Arithmetic of boxes `(n, 4)`: x1, y1, x2, y2 in pixels, without the old "+1" for the last pixel."""

import math

import torch
from torch import Tensor

# The largest factor by which a delta may enlarge a side is 1000 / 16, as in both families' code.
MAX_LOG_RATIO = math.log(1000 / 16)

Weights = tuple[float, float, float, float]


def sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return widths and heights, both `(n,)`."""
    return boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]


def area(boxes: Tensor) -> Tensor:
    """Return the areas `(n,)`."""
    width, height = sides(boxes)
    return width * height


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """Return the parts of boxes `(n, 4)` inside an image."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=1)


def not_empty(boxes: Tensor) -> Tensor:
    """Return `(n,)` booleans: whether both sides are longer than 0."""
    width, height = sides(boxes)
    return (width > 0) & (height > 0)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union `(n, m)` of boxes `(n, 4)` and `(m, 4)`; 0 where both are empty."""
    left, top, right, bottom = (side[:, None] for side in first.unbind(1))
    other_left, other_top, other_right, other_bottom = second.unbind(1)
    width = torch.minimum(right, other_right).sub_(torch.maximum(left, other_left)).clamp_(min=0)
    height = torch.minimum(bottom, other_bottom).sub_(torch.maximum(top, other_top)).clamp_(min=0)
    overlap = width.mul_(height)
    union = (area(first)[:, None] + area(second)).sub_(overlap)
    return torch.where(overlap > 0, overlap / union, 0.0)


def decode(reference: Tensor, deltas: Tensor, weights: Weights, *, clamp_shrinking: bool) -> Tensor:
    """Return boxes `(n, k, 4)` from reference boxes `(n, 4)` and deltas `(n, k, 4)` (arXiv 1311.2524, appendix C).

    A delta is the shift of the centre in sides, and the logarithm of the change of the sides, all times `weights`.
    Growth is limited by `MAX_LOG_RATIO` and, with `clamp_shrinking`, so is shrinking (OpenMMLab).
    """
    width, height = (each[:, None] for each in sides(reference))
    centre_x = reference[:, 0, None] + 0.5 * width
    centre_y = reference[:, 1, None] + 0.5 * height
    dx, dy, dw, dh = (deltas / deltas.new_tensor(weights)).unbind(2)
    lowest = -MAX_LOG_RATIO if clamp_shrinking else None
    dw, dh = (each.clamp(lowest, MAX_LOG_RATIO) for each in (dw, dh))
    new_x, new_y = dx * width + centre_x, dy * height + centre_y
    half_width, half_height = 0.5 * dw.exp() * width, 0.5 * dh.exp() * height
    return torch.stack([new_x - half_width, new_y - half_height, new_x + half_width, new_y + half_height], dim=2)


def encode(reference: Tensor, boxes: Tensor, weights: Weights) -> Tensor:
    """Return the deltas `(n, 4)` with which `decode` makes `boxes` of `reference`, both `(n, 4)`, for training."""
    (width, height), (new_width, new_height) = sides(reference), sides(boxes)
    dx = (boxes[:, 0] + 0.5 * new_width - reference[:, 0] - 0.5 * width) / width
    dy = (boxes[:, 1] + 0.5 * new_height - reference[:, 1] - 0.5 * height) / height
    deltas = torch.stack([dx, dy, (new_width / width).log(), (new_height / height).log()], dim=1)
    return deltas * deltas.new_tensor(weights)
