"""The torch code of segmentation: logits to masks, in bounded memory."""

from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from service.models.cards import CardError, ModelCard
from service.networks.segmentation import Segmenter
from service.tasks.segmentation.masks_head import Upsample, class_scores, confident
from service.tasks.segmentation.multiscale_head import multiscale
from service.tasks.torch_head import ImageSize, LoadedNetwork, Outputs, Postprocess, TorchHead, stack

MASK_CLASSES: Final = 255  # a byte per pixel, and 255 is for no class (`masks.VOID`)
# Bytes of logits at the image's size that are in memory at one time: 150 classes at 520 px are 162 MB per image.
ROOM: Final = 16 << 20


def check(card: ModelCard, network: nn.Module) -> None:
    """Raise `CardError` where the network is no segmenter, or has more classes than a mask can hold."""
    if not isinstance(network, Segmenter):
        raise CardError(f"{card.name}: its network {card.network.name} is not for {card.task}")
    if card.network.classes > MASK_CLASSES:
        raise CardError(f"{card.name}: it has {card.network.classes} classes, and a mask has room for {MASK_CLASSES}")


def forward(network: nn.Module, x: Tensor) -> Tensor:
    """Return logits `(n, classes, h/s, w/s)`. Upsampling is left to `segment`, which needs little memory for it."""
    logits: Tensor = network.coarse(x)  # type: ignore[operator]
    return logits


def postprocess(network: nn.Module) -> Postprocess:
    """Return the function from logits to masks. Of the network it uses the upsampling only."""
    return partial(segment, network.upsample)  # type: ignore[arg-type]


def segment(upsample: Upsample, coarse: Tensor, size: ImageSize) -> Outputs:
    """Return `mask` (n, h, w) uint8 and `class_scores` (n, classes) float32 from logits `(n, classes, h/s, w/s)`.

    The mask has the likeliest class of each pixel, the lowest of equals. A class scores the mean probability over its
    own pixels, 0 without any.
    """
    return stack([_segment(upsample, each.float(), size) for each in coarse])


def confidence(loaded: LoadedNetwork, x: Tensor) -> Outputs:
    """Return `mask`, `class_scores` and `confidence` (n, h, w) uint8, 255 times the mask's probability."""
    return stack([_confidence(logits) for logits in loaded.network(x).float()])


def _segment(upsample: Upsample, coarse: Tensor, size: ImageSize) -> dict[str, Tensor]:
    """Return one image's outputs, computed for as many classes at a time as there is `ROOM` for.

    The probability of the likeliest class is 1 / sum(exp(logit - highest)). The sum is kept with the highest logit.
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
    return {"mask": mask.to(torch.uint8), "class_scores": class_scores(mask, total.reciprocal_(), classes)}


def _confidence(logits: Tensor) -> dict[str, Tensor]:
    """Return one image's outputs from its logits `(classes, h, w)`."""
    likely, mask = logits.softmax(dim=0).max(dim=0)
    return confident(mask, likely, len(logits))


# Measured, milliseconds per image on one core in both memory formats: deeplab_resnest14 at 160 px 128 and 99 (channels
# last), deeplab_resnest50 at 240 px 540 and 474.
HEAD: Final = TorchHead(
    check,
    postprocess,
    forward,
    operations={"predict_confidence": confidence, "predict_multiscale": multiscale},
    cpu_layout=torch.channels_last,
)
