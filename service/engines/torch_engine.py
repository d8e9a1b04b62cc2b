"""PyTorch, eager: single precision on the CPU and on CUDA."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from service.cards import ModelCard
from service.engines import answers, graph

# Milliseconds a picture on one core, weights as they come and channels last: resnest14 at 160 px 25.5 and 25.5,
# resnest50 at 224 px 116 and 125; deeplab_resnest14 at 160 px 128 and 99, deeplab_resnest50 at 240 px 540 and 474.
CPU_LAYOUTS = {"classification": torch.contiguous_format, "segmentation": torch.channels_last}


class TorchEngine:
    """A graph on a device; see `service.engines.Engine` for what it answers."""

    def __init__(self, network: nn.Module, finish: answers.Finish, device: torch.device) -> None:
        self._graph = network
        self._finish = finish
        self._device = device

    @torch.inference_mode()
    def __call__(self, pictures: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """One forward pass over `(n, h, w, 3)`."""
        logits = self._graph(torch.from_numpy(np.require(pictures, requirements=["C", "W"])).to(self._device))
        return answers.arrays(self._finish(logits, (pictures.shape[1], pictures.shape[2])))


def load(card: ModelCard, device: str) -> TorchEngine:
    """The card's network with its weights on `device`. Raises `CardError` where they cannot be had or do not fit."""
    where = torch.device(device)
    module = graph.build(card)
    if where.type == "cpu":
        module = module.to(memory_format=CPU_LAYOUTS[card.task])  # type: ignore[call-overload]
    return TorchEngine(module.to(where), answers.finish(module.network), where)


def out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may succeed where this error came up."""
    exhausted = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return exhausted or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def device_lost(error: BaseException) -> bool:
    """Whether every later call in this process will fail too: a CUDA error other than a lack of memory."""
    return isinstance(error, torch.AcceleratorError)
