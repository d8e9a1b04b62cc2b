"""What the torch code of a task provides, and the outputs that it returns.

Only workers and offline measurements load this module and the heads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.models.cards import ModelCard

# By name: a tensor whose first axis is the image, or one tensor for each image where their shapes differ, as boxes do.
# The types are those of `frame.DTYPES`: float32, uint8 and uint16.
Outputs = dict[str, Any]
# The same as arrays. Both forms are indexed by the image: `arrays["scores"][3]` is the fourth image's.
BatchArrays = dict[str, Any]
ImageSize = tuple[int, int]  # height and width in pixels
Postprocess = Callable[[Tensor, ImageSize], Outputs]


class LoadedNetwork(NamedTuple):
    """A card's network with its weights, and a black pixel as the network takes it, `(1, 3, 1, 1)`."""

    network: Any
    card: ModelCard
    black: Tensor


EagerOperation = Callable[[LoadedNetwork, Tensor], Outputs]
RunGraph = Callable[[Tensor], tuple[Tensor, ...]]


class GraphPart(NamedTuple):
    """A part of a network that an engine compiles as a graph of its own, from one tensor to a tuple of tensors.

    `example` is the shape of a possible input. `dynamic` are the axes of it that may have other lengths.
    """

    module: nn.Module
    example: tuple[int, ...]
    dynamic: tuple[int, ...]


@dataclass(frozen=True)
class MultiGraph:
    """A network of several graphs, with code between them that is not compiled and computes in single precision.

    `parts` are the graphs by name. `run` gets a function for each of them, and one image `(1, h, w, 3)` uint8. It
    returns the outputs of `predict` for that image, without the axis of the image.
    """

    parts: Mapping[str, GraphPart]
    run: Callable[[Mapping[str, RunGraph], Tensor], dict[str, Tensor]]


Forward = Callable[[nn.Module, Tensor], Tensor]


def call(network: nn.Module, x: Tensor) -> Tensor:
    """Return the logits of a network for normalised images `(n, 3, h, w)`."""
    logits: Tensor = network(x)
    return logits


@dataclass(frozen=True)
class TorchHead:
    """The torch code of a task.

    `check` raises `CardError` where a network is not for the task. `forward` returns the part of a card's network that
    engines compile: normalised images `(n, 3, h, w)` to logits, one tensor whose first axis is the image. A network
    with several outputs concatenates them here. `postprocess` takes the card and its network, and returns the function
    from logits and image size to the outputs of `predict`. `operations` are the others, from normalised images to
    outputs. PyTorch runs them in single precision. `cpu_layout` is the faster memory format on a CPU. `has_fixed_size`
    means that every input of a card has one size, for which engines may specialise.

    With `multi_graph` engines use neither `forward` nor `postprocess`. It takes the card, its network and the module
    that normalises `(n, h, w, 3)` uint8. The network may be on the meta device; then only the names of parts are used.
    """

    check: Callable[[ModelCard, nn.Module], None]
    postprocess: Callable[[ModelCard, nn.Module], Postprocess]
    forward: Callable[[ModelCard], Forward] = lambda _card: call
    operations: Mapping[str, EagerOperation] = field(default_factory=dict)
    cpu_layout: torch.memory_format = torch.contiguous_format
    has_fixed_size: bool = False
    multi_graph: Callable[[ModelCard, nn.Module, nn.Module], MultiGraph] | None = None


def stack(images: Sequence[Mapping[str, Tensor]]) -> Outputs:
    """Return the outputs of several images, whose shapes are equal, as one batch."""
    return {name: torch.stack([image[name] for image in images]) for name in images[0]}


def to_arrays(outputs: Outputs) -> BatchArrays:
    """Return the outputs as arrays on the CPU, in the form that they have: one array, or a list with one per image."""
    return {name: _array(value) for name, value in outputs.items()}


def join(parts: Sequence[BatchArrays]) -> BatchArrays:
    """Return the outputs of several batches as one."""
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _joined(values: Sequence[Any]) -> Any:
    return np.concatenate(values) if isinstance(values[0], np.ndarray) else [each for value in values for each in value]


def _array(value: Tensor | Sequence[Tensor]) -> npt.NDArray[Any] | list[npt.NDArray[Any]]:
    if isinstance(value, Tensor):
        found: npt.NDArray[Any] = value.cpu().numpy()
        return found
    return [each.cpu().numpy() for each in value]
