"""Build the network of a card from pixels to logits, which every engine runs or compiles."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.engines.heads import head_of
from service.models.cards import CardError, ModelCard
from service.models.weights import checkpoint
from service.networks.inference_form import REFERENCE, Form, rewrite
from service.tasks.torch_head import Forward


class Normalise(nn.Module):
    """Normalisation by the mean and standard deviation with which the network was trained."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float64)
        offset = -torch.tensor(mean, dtype=torch.float64) / deviation
        self.register_buffer("scale", (1 / (255 * deviation)).float().view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", offset.float().view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map `(n, h, w, 3)` uint8 to `(n, 3, h, w)` float32 with zero mean and unit deviation."""
        return torch.addcmul(self.shift, images.permute(0, 3, 1, 2).float(), self.scale)


class Graph(nn.Module):
    """Normalisation and the network.

    A segmenter's logits are not upsampled here but by the head of the task, which needs less memory for it.
    """

    def __init__(self, normalise: nn.Module, network: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network
        self._forward = forward

    def forward(self, images: Tensor) -> Tensor:
        """Map `(n, h, w, 3)` uint8 to logits, in the precision of the network.

        They are `(n, classes)` or, for a segmenter, `(n, classes, h/s, w/s)` with the stride s of its head. A
        classifier with a domain score has its features after the logits.
        """
        logits: Tensor = self._forward(self.network, self.normalise(images))
        return logits


def device_of(name: str | None) -> str:
    """Return the named device ("cpu", "cuda:0"), by default CUDA if there is one, else the CPU."""
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def to_tensor(images: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return the images on the device. PyTorch refuses arrays with negative strides, and warns of read-only ones."""
    return torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)


def skeleton(card: ModelCard) -> nn.Module:
    """Return the card's network without weights. Raises `CardError` if it is unknown or not for the card's task."""
    try:
        network = checkpoint.skeleton(card.network)
    except CardError as error:
        raise CardError(f"{card.name}: {error}") from error
    head_of(card).check(card, network)
    return network


def build(card: ModelCard, form: Form = REFERENCE) -> Graph:
    """Return the card's network with its weights, on the CPU, in evaluation mode, in the given form.

    Networks of other libraries have only the reference form. Raises `CardError` if the weights are missing, have
    another checksum, or do not fit.
    """
    network = skeleton(card)
    checkpoint.load_weights(network, checkpoint.read(card), card.name)
    if card.network.library == "own":
        network = rewrite(network.eval(), form)
    return Graph(Normalise(card.input.mean, card.input.std), network, head_of(card).forward(card)).eval()
