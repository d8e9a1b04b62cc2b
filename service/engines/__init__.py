"""Engines: what runs the network of a card. `load` returns the one that the card asks for, or the fastest."""

import logging
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from service.engines import graph, multi_graph, torch_cpu
from service.engines.cuda import engine as cuda_engine
from service.engines.heads import head_of
from service.engines.openvino import engine as openvino_engine
from service.engines.openvino import parts as openvino_parts
from service.engines.openvino import runtime as openvino_runtime
from service.engines.openvino.conversion import ConversionError
from service.models.cards import ModelCard
from service.tasks.frame import Runtime
from service.tasks.torch_head import BatchArrays

log = logging.getLogger("service.worker")

Images = npt.NDArray[np.uint8]


class Engine(Protocol):
    """A network with its weights, ready to run its task's operation `predict`.

    It takes as many calls at a time as `calls_at_once` says.
    """

    def __call__(self, images: Images, /) -> BatchArrays:
        """Return the task's outputs by name for images `(n, h, w, 3)` uint8 RGB.

        Each output is an array whose first axis is the image, or a list of n arrays where their shapes differ from
        image to image, as those of boxes do. Both are indexed by the image.
        """
        ...


Load = Callable[[ModelCard, str], Engine]


def by_torch(card: ModelCard, device: str) -> Engine:
    """Return PyTorch's engine for this device."""
    if head_of(card).multi_graph is not None:
        return multi_graph.load(card, device)
    return torch_cpu.load(card, device) if device.startswith("cpu") else cuda_engine.load(card, device)


def by_openvino(card: ModelCard, device: str) -> Engine:
    """Return OpenVINO's engine."""
    if head_of(card).multi_graph is not None:
        return openvino_parts.load(card, device)
    return openvino_engine.load(card, device)


ENGINES: dict[str, Load] = {"torch": by_torch, "openvino": by_openvino}


def load(card: ModelCard, device: str | None = None) -> Engine:
    """Return the engine that the card asks for, on `device` ("cpu", "cuda:0") or the best one there is.

    Raises `CardError` where the weights are missing, do not have the card's checksum, or do not fit its network.
    """
    where = graph.device_of(device)
    if card.serving.engine != "auto":
        return ENGINES[card.serving.engine](card, where)
    return on_cpu(card) if where.startswith("cpu") else by_torch(card, where)


def chosen(card: ModelCard, device: str) -> str:
    """Return the name of the engine that `load` tries first for a card on a device."""
    if card.serving.engine != "auto":
        return card.serving.engine
    return "openvino" if device.startswith("cpu") and openvino_runtime.is_installed() else "torch"


def calls_at_once(engine: Engine) -> int:
    """Return how many threads may call the engine at the same time, where more than one is faster."""
    return 2 if isinstance(engine, openvino_engine.OpenVinoEngine) and engine.streams else 1


def runtime_of(engine: Engine) -> Runtime | None:
    """Return the name and the device of an engine that `load` has returned; None of another one."""
    known = (
        openvino_engine.OpenVinoEngine,
        multi_graph.MultiGraphEngine,
        torch_cpu.TorchEngine,
        cuda_engine.CudaEngine,
    )
    return engine.runtime if isinstance(engine, known) else None


def is_halved(engine: Engine, images: Images) -> bool:
    """Return whether an engine computes these images in smaller passes, because memory has run out before."""
    return isinstance(engine, cuda_engine.CudaEngine) and engine.is_halved(images)


def on_cpu(card: ModelCard, fastest: Load = by_openvino) -> Engine:
    """Return OpenVINO's engine if it is installed and takes the network, else PyTorch's, and log why."""
    if not openvino_runtime.is_installed():
        log.warning("%s: OpenVINO is not installed, so PyTorch runs it, several times slower", card.name)
        return by_torch(card, "cpu")
    try:
        return fastest(card, "cpu")
    except ConversionError as error:
        log.warning("%s; PyTorch runs it instead, several times slower", error)
        return by_torch(card, "cpu")
