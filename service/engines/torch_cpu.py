"""The engine that runs a network in eager PyTorch, in single precision or, if the card says so, in bfloat16."""

import os

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from service.config.cores import threads
from service.engines import graph
from service.engines.heads import head_of
from service.models.cards import CardError, ModelCard
from service.tasks.torch_head import BatchArrays, Postprocess, to_arrays


class TorchEngine:
    """A graph on a device, in bfloat16 after `halve`. `service.engines.Engine` describes the outputs."""

    def __init__(
        self, network: nn.Module, postprocess: Postprocess, device: torch.device, *, bf16: bool = False
    ) -> None:
        self._graph = network
        self._postprocess = postprocess
        self._device = device
        self._bf16 = bf16

    @torch.inference_mode()
    def __call__(self, images: npt.NDArray[np.uint8]) -> BatchArrays:
        """Run one forward pass over `(n, h, w, 3)`."""
        given = graph.to_tensor(images, self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            logits = self._graph(given)
        return to_arrays(self._postprocess(logits, (images.shape[1], images.shape[2])))


def load(card: ModelCard, device: str) -> TorchEngine:
    """Return the card's network with its weights on `device`. Raises `CardError` for missing or unfit weights."""
    refuse_int8(card)
    where = torch.device(device)
    module, head = graph.build(card), head_of(card)
    if where.type == "cpu":
        torch.set_num_threads(threads(card.serving.threads, os.environ))
        module = module.to(memory_format=head.cpu_layout)  # type: ignore[call-overload]
    bf16 = card.serving.precision == "bf16"
    if bf16:
        halve(module)
    return TorchEngine(module.to(where), head.postprocess(module.network), where, bf16=bf16)


def refuse_int8(card: ModelCard) -> None:
    """Raise `CardError` if the card asks for int8, which PyTorch does not compute in here."""
    if card.serving.precision == "int8":
        raise CardError(f"{card.name}: int8 runs with OpenVINO on a CPU only, not with PyTorch")


def halve(network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
    """Convert the weights that autocast would convert in every pass to `dtype`. Other weights keep their precision."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)
