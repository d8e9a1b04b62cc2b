"""Logits to what a task answers: one arithmetic behind every engine."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.networks.segmentation import Segmenter

Outputs = dict[str, Tensor]
Size = tuple[int, int]  # a picture's height and width
Finish = Callable[[Tensor, Size], Outputs]
Upsample = Callable[[Tensor, Size], Tensor]

# Logits of this many bytes at the picture's size are in memory at one time: 150 classes at 520 px are 162 MB a picture.
ROOM = 16 << 20
CERTAIN: Final = 255  # of a pixel's confidence: a probability of 1


def finish(network: nn.Module) -> Finish:
    """What makes answers of the logits of `network`, of which only the way up to the picture's size is used."""
    return partial(segmentation, network.upsample) if isinstance(network, Segmenter) else classification


def classification(logits: Tensor, _: Size) -> Outputs:
    """`(n, classes)` to `scores` (n, classes) float32, the probability of each class."""
    return {"scores": logits.float().softmax(dim=1)}


def segmentation(upsample: Upsample, coarse: Tensor, size: Size) -> Outputs:
    """Logits `(n, classes, h/s, w/s)` to `mask` (n, h, w) uint8 and `class_scores` (n, classes) float32.

    The mask has the likeliest class of each pixel, the lowest of equals; a class scores the mean probability over its
    own pixels, 0 without any.
    """
    masks, scores = zip(*(_segment(upsample, each.float(), size) for each in coarse), strict=True)
    return {"mask": torch.stack(masks), "class_scores": torch.stack(scores)}


def _segment(upsample: Upsample, coarse: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """One picture, as many classes at a time as there is `ROOM` for.

    The probability of the likeliest class is 1 / sum(exp(logit - highest)); the sum goes along with the highest.
    """
    classes = len(coarse)
    step = max(1, ROOM // (4 * size[0] * size[1]))
    highest, total = coarse.new_full(size, -torch.inf), coarse.new_zeros(size)
    mask = torch.zeros(size, dtype=torch.long, device=coarse.device)
    for start in range(0, classes, step):
        logits = upsample(coarse[None, start : start + step], size)[0]
        best, place = logits.max(dim=0)
        higher = best > highest
        mask = torch.where(higher, place + start, mask)
        raised = torch.where(higher, best, highest)
        total = total.mul_((highest - raised).exp_()).add_(logits.sub_(raised).exp_().sum(dim=0))
        highest = raised
    return mask.to(torch.uint8), class_scores(mask, total.reciprocal_(), classes)


def class_scores(mask: Tensor, likely: Tensor, classes: int) -> Tensor:
    """Each class's mean probability over its own pixels, `(classes,)` float32, 0 without any.

    `mask` (h, w) int64 has each pixel's class, `likely` (h, w) that class's probability there.
    """
    flat = mask.flatten()
    sums = torch.bincount(flat, weights=likely.flatten().double(), minlength=classes)
    return (sums / torch.bincount(flat, minlength=classes).clamp(min=1)).float()


def confident(mask: Tensor, likely: Tensor, classes: int) -> Outputs:
    """One picture's `mask` (h, w) uint8, `class_scores` (classes,), and `confidence` (h, w) uint8, of `likely`."""
    return {
        "mask": mask.to(torch.uint8),
        "class_scores": class_scores(mask, likely, classes),
        "confidence": likely.mul(CERTAIN).round().to(torch.uint8),
    }


def together(pictures: Sequence[Outputs]) -> Outputs:
    """The answers of several pictures as one, of first axis n."""
    return {name: torch.stack([picture[name] for picture in pictures]) for name in pictures[0]}


def arrays(outputs: Outputs) -> dict[str, npt.NDArray[Any]]:
    """The answers as arrays, on the CPU."""
    return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
