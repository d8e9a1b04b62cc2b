"""The outputs of one image from the likeliest class of each pixel and its probability."""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from service.tasks.torch_head import ImageSize

Upsample = Callable[[Tensor, ImageSize], Tensor]

CERTAIN: Final = 255  # the confidence of a pixel whose class has the probability 1


def class_scores(mask: Tensor, likely: Tensor, classes: int) -> Tensor:
    """Return each class's mean probability over its own pixels, `(classes,)` float32, 0 without any.

    `mask` (h, w) int64 has each pixel's class, `likely` (h, w) that class's probability there.
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
