"""The torch code of the toy task. The number of picks differs from image to image."""

import torch
from torch import Tensor, nn

from service.models.cards import ModelCard
from service.tasks.torch_head import ImageSize, Outputs, Postprocess, TorchHead


def check(_card: ModelCard, _network: nn.Module) -> None:
    """Accept every network."""


def picks(logits: Tensor, _size: ImageSize) -> Outputs:
    """Return `picks`, for each image the ids of the classes that are likelier than the mean, float32 (k,)."""
    scores = logits.float().softmax(dim=1)
    return {"picks": [torch.nonzero(each > each.mean())[:, 0].float() for each in scores]}


def postprocess(_card: ModelCard, _network: nn.Module) -> Postprocess:
    """Return the function from logits to picks."""
    return picks


HEAD = TorchHead(check, postprocess, has_fixed_size=True)
