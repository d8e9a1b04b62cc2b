"""The domain score: how much an image is like those of a model's classes, from the features before its last layer.

A linear layer has a row for images of other things and a row for each kind of known ones. The score is the logarithm of
the odds that an image is known: below 0, it is likelier to be of something else.
"""

from typing import Self

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from service.models.cards import CardError, ModelCard
from service.models.weights import checksums


class DomainHead:
    """A linear layer: `weight` (rows, d) and `bias` (rows) float32. The first row is that of other things."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = weight.float()
        self.bias = bias.float()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the head in a file. Raises `CardError` if it has none."""
        try:
            tensors = safetensors.torch.load(data)
            weight, bias = tensors["weight"], tensors["bias"]
        except (SafetensorError, KeyError) as error:
            raise CardError(f"not the file of a domain score: {error}") from error
        if weight.ndim != 2 or len(weight) < 2 or bias.shape != weight.shape[:1]:
            raise CardError(f"not the file of a domain score: shapes {tuple(weight.shape)} and {tuple(bias.shape)}")
        return cls(weight, bias)

    def file(self) -> bytes:
        """Return the content of the file, in single precision."""
        return safetensors.torch.save({"weight": self.weight.contiguous(), "bias": self.bias.contiguous()})

    def score(self, features: Tensor) -> Tensor:
        """Return the score (n, 1) float32 of features (n, d)."""
        rows = functional.linear(features.float(), self.weight.to(features.device), self.bias.to(features.device))
        return rows[:, 1:].logsumexp(dim=1, keepdim=True) - rows[:, :1]


def of_card(card: ModelCard) -> DomainHead | None:
    """Return the head of a card, None if it has no domain score. Raises `CardError` for an unusable file."""
    if card.calibration is None or card.calibration.domain is None:
        return None
    try:
        return DomainHead.parse(checksums.read_domain(card))
    except CardError as error:
        raise CardError(f"{card.name}: {error}") from error
