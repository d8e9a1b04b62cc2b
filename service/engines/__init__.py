"""The things that run a batch: what `load` makes of a card is called with pictures and answers arrays."""

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.engines import graph, torch_cpu
from service.engines.cuda import engine as cuda_engine
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.conversion import ConversionError
from service.models.cards import ModelCard

log = logging.getLogger("service.worker")

Pictures = npt.NDArray[np.uint8]
Arrays = dict[str, npt.NDArray[Any]]


class Engine(Protocol):
    """A network with its weights, ready to run."""

    def __call__(self, pictures: Pictures) -> Arrays:
        """`(n, h, w, 3)` uint8 RGB to arrays of first axis n.

        Classification: `scores` float32 (n, classes), probabilities. Segmentation: `mask` uint8 (n, h, w), the class
        ids, and `class_scores` float32 (n, classes), the mean probability over each class's own pixels, 0 where it
        has none.
        """
        ...


Load = Callable[[ModelCard, str], Engine]


def by_torch(card: ModelCard, device: str) -> Engine:
    """PyTorch's on this device."""
    return torch_cpu.load(card, device) if device.startswith("cpu") else cuda_engine.load(card, device)


ENGINES: dict[str, Load] = {"torch": by_torch, "openvino": openvino_engine.load}


def load(card: ModelCard, device: str | None = None) -> Engine:
    """The engine that the card asks for, on `device` ("cpu", "cuda:0") or the best one there is.

    Raises `CardError` where the weights are missing, are not those of the card's checksum, or do not fit its network.
    """
    where = graph.device_of(device)
    if card.serving.engine != "auto":
        return ENGINES[card.serving.engine](card, where)
    return on_cpu(card) if where.startswith("cpu") else by_torch(card, where)


def on_cpu(card: ModelCard, fastest: Load = openvino_engine.load) -> Engine:
    """OpenVINO where it is installed and takes the network, else PyTorch, and a line that says why."""
    if not openvino_runtime.installed():
        log.warning("%s: OpenVINO is not installed, so PyTorch runs it, several times slower", card.name)
        return torch_cpu.load(card, "cpu")
    try:
        return fastest(card, "cpu")
    except ConversionError as error:
        log.warning("%s; PyTorch runs it instead, several times slower", error)
        return torch_cpu.load(card, "cpu")
