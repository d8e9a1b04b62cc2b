"""The engine of networks of several graphs, such as detectors, and its graphs in eager PyTorch."""

import os
from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.config.cores import threads
from service.engines import graph
from service.engines.cuda.device import without_tf32
from service.engines.heads import head_of
from service.engines.torch_cpu import refuse_int8
from service.models.cards import ModelCard
from service.networks.inference_form import Form
from service.tasks.frame import Runtime
from service.tasks.torch_head import BatchArrays, MultiGraph, RunGraph, to_arrays

FORM = Form(fold=True, split_attention=True, split_first=True)
HALF = {"bf16": torch.bfloat16}


class MultiGraphEngine:
    """The graphs of a network, for one caller at a time; see `service.engines.Engine` for its outputs.

    It runs image by image, so that no image changes the outputs of another.
    """

    def __init__(
        self, network: MultiGraph, graphs: Mapping[str, RunGraph], device: torch.device, engine: str = "torch"
    ) -> None:
        """Take a `network` whose `graphs` an `engine` runs, on a device."""
        self.runtime = Runtime(engine, device.type)
        self._network = network
        self._graphs = graphs
        self._device = device

    @torch.inference_mode()
    def __call__(self, images: npt.NDArray[np.uint8]) -> BatchArrays:
        """Run images `(n, h, w, 3)`. The outputs are lists of an array for each image."""
        given = graph.to_tensor(images, self._device)
        with without_tf32():
            found = [self._network.run(self._graphs, given[index : index + 1]) for index in range(len(given))]
        return to_arrays({name: [each[name] for each in found] for name in found[0]})


def of_card(card: ModelCard, network: nn.Module, device: torch.device) -> MultiGraph:
    """Return the graphs of a card's network on a device, or on the meta device if the network is there.

    Raises `TypeError` for a task whose networks are single graphs.
    """
    compose = head_of(card).multi_graph
    if compose is None:
        raise TypeError(f"the networks of {card.task} are single graphs")
    normalise = graph.Normalise(card.input.mean, card.input.std).to(device)
    is_meta = any(each.is_meta for each in network.parameters())
    return compose(card, network if is_meta else network.to(device), normalise)


def load(card: ModelCard, device: str) -> MultiGraphEngine:
    """Return the card's network with its weights on `device`. Raises `CardError` for missing or unfit weights.

    In bfloat16, autocast converts the weights of convolutions and linear layers in each pass.
    """
    refuse_int8(card)
    where = torch.device(device)
    if where.type == "cpu":
        torch.set_num_threads(threads(card.serving.threads, os.environ))
    network = of_card(card, graph.build(card, FORM).network, where)
    half = HALF.get(card.serving.precision)
    graphs = {name: partial(run_eagerly, part.module, where.type, half) for name, part in network.parts.items()}
    return MultiGraphEngine(network, graphs, where)


def run_eagerly(module: nn.Module, device: str, half: torch.dtype | None, given: Tensor) -> tuple[Tensor, ...]:
    """Return a graph's outputs, computed by PyTorch in single precision, or in `half` by autocast."""
    with torch.autocast(device, half, enabled=half is not None):
        found = module(given)
    return tuple(found) if isinstance(found, tuple) else (found,)
