"""Operations other than `predict`: embeddings, explanations, confidences and masks of many passes.

PyTorch runs them whatever engine the card names, in single precision, with weights of its own.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from service.engines import graph
from service.engines.cuda.device import without_tf32
from service.engines.heads import head_of
from service.models.cards import ModelCard
from service.tasks.torch_head import BatchArrays, LoadedNetwork, TorchHead, to_arrays


class EagerOperations:
    """A card's network in PyTorch, for the operations of its task other than `predict`."""

    def __init__(self, normalise: nn.Module, loaded: LoadedNetwork, device: torch.device, head: TorchHead) -> None:
        self._normalise = normalise
        self._loaded = loaded
        self._device = device
        self._operations = head.operations

    @torch.inference_mode()
    def __call__(self, operation: str, images: npt.NDArray[np.uint8]) -> BatchArrays:
        """Return what the operation returns for `(n, h, w, 3)` uint8 RGB, as `service.engines.Engine` does."""
        given = graph.to_tensor(images, self._device)
        with without_tf32():
            return to_arrays(self._operations[operation](self._loaded, self._normalise(given)))


def load(card: ModelCard, device: str | None = None) -> EagerOperations:
    """Return the card's network with its weights. Raises `CardError` as `service.engines.load` does."""
    where = torch.device(graph.device_of(device))
    module = graph.build(card).to(where)
    loaded = LoadedNetwork(module.network, card, module.normalise.get_buffer("shift"))
    return EagerOperations(module.normalise, loaded, where, head_of(card))
