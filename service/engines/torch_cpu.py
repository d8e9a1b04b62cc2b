"""PyTorch, eager, on the CPU and on CUDA: in single precision, or in bfloat16 where the card says so."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from service.config.cores import threads
from service.engines import graph, postprocess
from service.models.cards import CardError, ModelCard

# Milliseconds a picture on one core, weights as they come and channels last: resnest14 at 160 px 25.5 and 25.5,
# resnest50 at 224 px 116 and 125; deeplab_resnest14 at 160 px 128 and 99, deeplab_resnest50 at 240 px 540 and 474.
CPU_LAYOUTS = {"classification": torch.contiguous_format, "segmentation": torch.channels_last}


class TorchEngine:
    """A graph on a device, in bfloat16 where `halve` has been at it; see `service.engines.Engine` for its answers."""

    def __init__(
        self, network: nn.Module, finish: postprocess.Finish, device: torch.device, *, bf16: bool = False
    ) -> None:
        self._graph = network
        self._finish = finish
        self._device = device
        self._bf16 = bf16

    @torch.inference_mode()
    def __call__(self, pictures: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """One forward pass over `(n, h, w, 3)`."""
        given = graph.tensor(pictures, self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            logits = self._graph(given)
        return postprocess.arrays(self._finish(logits, (pictures.shape[1], pictures.shape[2])))


def load(card: ModelCard, device: str) -> TorchEngine:
    """The card's network with its weights on `device`. Raises `CardError` where they cannot be had or do not fit."""
    refuse_int8(card)
    where = torch.device(device)
    module = graph.build(card)
    if where.type == "cpu":
        torch.set_num_threads(threads(card.serving.threads, os.environ))
        module = module.to(memory_format=CPU_LAYOUTS[card.task])  # type: ignore[call-overload]
    bf16 = card.serving.precision == "bf16"
    if bf16:
        halve(module)
    return TorchEngine(module.to(where), postprocess.finish(module.network), where, bf16=bf16)


def refuse_int8(card: ModelCard) -> None:
    """Raise `CardError` where the card asks for what PyTorch does not compute in."""
    if card.serving.precision == "int8":
        raise CardError(f"{card.name}: in int8 only OpenVINO runs it, on a CPU, and here PyTorch was to")


def halve(network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
    """Keep the weights that autocast would else make `dtype` anew in every pass, as such; no others lose anything."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)
