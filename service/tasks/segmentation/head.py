"""The torch code of segmentation: logits to masks, in bounded memory."""

from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from service.models.cards import CardError, ModelCard
from service.networks.segmentation import Segmenter
from service.tasks.segmentation.likeliest_head import Upsample, likeliest
from service.tasks.segmentation.masks_head import (
    class_scores,
    confident,
    likelihood,
    sampled_scores,
    sampling_step,
)
from service.tasks.segmentation.multiscale_head import multiscale
from service.tasks.torch_head import Forward, ImageSize, LoadedNetwork, Outputs, Postprocess, TorchHead, stack

MASK_CLASSES: Final = 255  # a byte per pixel, and 255 is for no class (`masks.VOID`)
# Bytes of logits at the image's size that are in memory at one time: 150 classes at 520 px are 162 MB per image.
ROOM: Final = 16 << 20


def check(card: ModelCard, network: nn.Module) -> None:
    """Raise `CardError` where the network is no segmenter, or has more classes than a mask can hold."""
    if not isinstance(network, Segmenter):
        raise CardError(f"{card.name}: its network {card.network.name} is not for {card.task}")
    if card.network.classes > MASK_CLASSES:
        raise CardError(f"{card.name}: it has {card.network.classes} classes, and a mask has room for {MASK_CLASSES}")


def forward(_card: ModelCard) -> Forward:
    """Return the function from images to logits."""
    return coarse_logits


def coarse_logits(network: nn.Module, x: Tensor) -> Tensor:
    """Return logits `(n, classes, h/s, w/s)`. Upsampling is left to `segment`, which needs little memory for it."""
    logits: Tensor = network.coarse(x)  # type: ignore[operator]
    return logits


def postprocess(_card: ModelCard, network: nn.Module) -> Postprocess:
    """Return the function from logits to masks. Of the network it uses the upsampling only."""
    return partial(segment, network.upsample)  # type: ignore[arg-type]


def segment(upsample: Upsample, coarse: Tensor, size: ImageSize) -> Outputs:
    """Return `mask` (n, h, w) uint8 and `class_scores` (n, classes) float32 from logits `(n, classes, h/s, w/s)`.

    The mask has the class with the highest upsampled logit at each pixel, the lowest of equals. A class scores the mean
    probability over its own pixels, 0 without any. With many classes the mean is over a sample of the pixels
    (`sampled_scores`). Where a logit is not finite, every score is NaN, which no check of a worker's arrays accepts.
    """
    return stack([_segment(upsample, each.float().contiguous(), size) for each in coarse])


def confidence(loaded: LoadedNetwork, x: Tensor) -> Outputs:
    """Return `mask`, `class_scores` and `confidence` (n, h, w) uint8, 255 times the mask's probability.

    All are those of `segment`, but the scores are means over all pixels.
    """
    network, size = loaded.network, (x.shape[2], x.shape[3])
    return stack([_confidence(network.upsample, each.float().contiguous(), size) for each in network.coarse(x)])


def _segment(upsample: Upsample, logits: Tensor, size: ImageSize) -> dict[str, Tensor]:
    """Return one image's outputs. On a GPU to upsample all logits takes less time than to find which are needed."""
    if sampling_step(len(logits), size[0] * size[1]) == 1:
        mask, scores = _whole(upsample, logits, size)
    else:
        mask = _mask(upsample, logits, size)
        scores = sampled_scores(upsample, logits, mask)
    return {"mask": mask, "class_scores": scores + (logits * 0).sum()}


def _mask(upsample: Upsample, logits: Tensor, size: ImageSize) -> Tensor:
    return likeliest(upsample, logits, size) if logits.is_cpu else upsampled_argmax(upsample, logits, size)


def _whole(upsample: Upsample, logits: Tensor, size: ImageSize) -> tuple[Tensor, Tensor]:
    """Return the mask and the scores of few classes, from all upsampled logits.

    The probability of the likeliest class is 1 / sum(exp(logit - highest)).
    """
    upsampled = upsample(logits[None], size)[0]
    highest, mask = upsampled.max(dim=0)
    likely = upsampled.sub_(highest).exp_().sum(dim=0).reciprocal_()
    return mask.to(torch.uint8), class_scores(mask, likely, len(logits))


def upsampled_argmax(upsample: Upsample, logits: Tensor, size: ImageSize) -> Tensor:
    """Return what `likeliest` returns, from as many classes at a time as there is `ROOM` for."""
    step = max(1, ROOM // (4 * size[0] * size[1]))
    highest, mask = logits.new_full(size, -torch.inf), logits.new_zeros(size, dtype=torch.long)
    for start in range(0, len(logits), step):
        best, place = upsample(logits[None, start : start + step], size)[0].max(dim=0)
        mask = torch.where(best > highest, place + start, mask)
        highest = torch.maximum(highest, best)
    return mask.to(torch.uint8)


def _confidence(upsample: Upsample, logits: Tensor, size: ImageSize) -> dict[str, Tensor]:
    """Return one image's outputs from its logits `(classes, h/s, w/s)`."""
    classes = len(logits)
    if sampling_step(classes, size[0] * size[1]) == 1:
        upsampled = upsample(logits[None], size)[0]
        found = confident(upsampled.argmax(dim=0), upsampled.softmax(dim=0).amax(dim=0), classes)
    else:
        mask = _mask(upsample, logits, size).long()
        found = confident(mask, likelihood(upsample, logits, mask), classes)
    return {**found, "class_scores": found["class_scores"] + (logits * 0).sum()}


# Measured, milliseconds per image on one core in both memory formats: deeplab_resnest14 at 160 px 128 and 99 (channels
# last), deeplab_resnest50 at 240 px 540 and 474.
HEAD: Final = TorchHead(
    check,
    postprocess,
    forward,
    operations={"predict_confidence": confidence, "predict_multiscale": multiscale},
    cpu_layout=torch.channels_last,
)
