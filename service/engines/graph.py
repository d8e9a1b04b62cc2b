"""The network of a card between pixels and logits: what every engine runs, or makes its own form of."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.models.cards import CardError, ModelCard
from service.models.weights import checkpoint
from service.networks.segmentation import Segmenter

MASK_CLASSES = 255  # a byte a pixel, and 255 is for none of them (`masks.VOID`)


class Normalise(nn.Module):
    """`(n, h, w, 3)` uint8 to `(n, 3, h, w)` float32 of the mean and deviation the network was trained with."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float64)
        offset = -torch.tensor(mean, dtype=torch.float64) / deviation
        self.register_buffer("scale", (1 / (255 * deviation)).float().view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", offset.float().view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Channels first, zero mean, unit deviation."""
        return torch.addcmul(self.shift, pictures.permute(0, 3, 1, 2).float(), self.scale)


class Graph(nn.Module):
    """`(n, h, w, 3)` uint8 to logits: `(n, classes)`, or a segmenter's `(n, classes, h/s, w/s)`.

    A segmenter's way up to the picture's size is left to `service.engines.postprocess`, which needs no room for it.
    """

    def __init__(self, normalise: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """The logits, in the network's precision."""
        x = self.normalise(pictures)
        logits: Tensor = self.network.coarse(x) if isinstance(self.network, Segmenter) else self.network(x)
        return logits


def device_of(name: str | None) -> str:
    """That device ("cpu", "cuda:0"), or the best one there is."""
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def tensor(pictures: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """The pictures there; PyTorch takes no array that is not contiguous, and warns of one it must not write to."""
    return torch.from_numpy(np.require(pictures, requirements=["C", "W"])).to(device)


def skeleton(card: ModelCard) -> nn.Module:
    """The card's network without its weights. Raises `CardError` where there is none, or none for the card's task."""
    try:
        network = checkpoint.skeleton(card.network)
    except CardError as error:
        raise CardError(f"{card.name}: {error}") from error
    if isinstance(network, Segmenter) != (card.task == "segmentation"):
        raise CardError(f"{card.name}: its network {card.network.name} is not for {card.task}")
    if card.task == "segmentation" and card.network.classes > MASK_CLASSES:
        raise CardError(f"{card.name}: it has {card.network.classes} classes, and a mask has room for {MASK_CLASSES}")
    return network


def build(card: ModelCard) -> Graph:
    """The card's network with its weights, on the CPU, for inference.

    Raises `CardError` where the weights are missing, are not those of the card's checksum, or do not fit.
    """
    network = skeleton(card)
    checkpoint.fill(network, checkpoint.read(card), card.name)
    return Graph(Normalise(card.input.mean, card.input.std), network).eval()
