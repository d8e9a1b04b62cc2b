"""What a network can tell of pictures besides its task's answer: its features, and why it answers as it does.

PyTorch runs it whatever engine the card names, in single precision, with weights of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.engines import graph
from service.engines.cuda.device import single_precision
from service.engines.multiscale import best
from service.engines.postprocess import Outputs, arrays, confident, together
from service.models.cards import ModelCard
from service.networks.split_attention import SplitAttentionConv2d
from service.tasks.operations import Question


def embedding(network: Any, x: Tensor) -> Outputs:
    """`embedding` (n, 2048): what the classifier's last layer sees, the mean of the last stage's map."""
    return {"embedding": network.stages(x)[-1].float().mean(dim=(2, 3))}


def explanation(network: Any, x: Tensor) -> Outputs:
    """What each place adds to each class: class activation maps (arXiv 1512.04150, equation 2).

    `maps` (n, classes, h/32, w/32) and `bias` (n, classes): a class's logit is the sum of its bias and its map's mean,
    exactly, because all of these networks end in a mean and a linear layer; and `scores` (n, classes). For a network
    with b Split-Attention blocks also `splits` and `spread` (n, b, radix), the mean and deviation over the channels of
    each split's weight, and `stage` (n, b), 1 to 4.
    """
    with _attention(network) as weights:
        features = network.stages(x)[-1].float()
    maps = torch.einsum("nkhw,ck->nchw", features, network.fc.weight.float())
    bias = network.fc.bias.float().expand(len(x), -1)
    answer = {"maps": maps, "bias": bias, "scores": (maps.mean(dim=(2, 3)) + bias).softmax(dim=1)}
    if not weights:
        return answer
    stages = [stage for stage, _ in weights]
    return answer | {
        "splits": torch.stack([each.mean(dim=2) for _, each in weights], dim=1),
        "spread": torch.stack([each.std(dim=2, correction=0) for _, each in weights], dim=1),
        "stage": torch.tensor(stages, dtype=torch.uint8).expand(len(x), -1),
    }


def confidence(network: Any, x: Tensor) -> Outputs:
    """`mask` and `class_scores` as `Engine` has them, and `confidence` (n, h, w) uint8: the probability, 255 is 1."""
    return together([_confidence(logits) for logits in network(x).float()])


Tell = Callable[[Any, Tensor], Outputs]
TELL: Final[dict[Question, Tell]] = {
    "embedding": embedding,
    "explanation": explanation,
    "confidence": confidence,
}


class EagerOperations:
    """A card's network, asked other things than its task's."""

    def __init__(
        self, normalise: nn.Module, network: nn.Module, device: torch.device, tell: Mapping[Question, Tell]
    ) -> None:
        self._normalise = normalise
        self._network = network
        self._device = device
        self._tell = tell

    @torch.inference_mode()
    def __call__(self, question: Question, pictures: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """`(n, h, w, 3)` uint8 RGB to what the question's function in `TELL` says, or `best`."""
        given = graph.tensor(pictures, self._device)
        with single_precision():
            return arrays(self._tell[question](self._network, self._normalise(given)))


def load(card: ModelCard, device: str | None = None) -> EagerOperations:
    """The card's network with its weights. Raises `CardError` as `engines.load` does."""
    where = torch.device(graph.device_of(device))
    module = graph.build(card).to(where)
    tell: dict[Question, Tell] = {**TELL, "best": partial(best, black=module.normalise.get_buffer("shift"), card=card)}
    return EagerOperations(module.normalise, module.network, where, tell)


@contextmanager
def _attention(network: nn.Module) -> Iterator[list[tuple[int, Tensor]]]:
    """The stage and the weights (n, radix, channels) of each Split-Attention block that runs within the `with`."""
    seen: list[tuple[int, Tensor]] = []

    def watch(stage: int, block: SplitAttentionConv2d) -> Any:
        def keep(_module: nn.Module, _inputs: Any, weights: Tensor) -> None:
            seen.append((stage, weights.float().view(len(weights), block.radix, -1)))

        return block.rsoftmax.register_forward_hook(keep)

    hooks = [
        watch(stage, block)
        for stage in range(1, 5)
        for block in network.get_submodule(f"layer{stage}").modules()
        if isinstance(block, SplitAttentionConv2d)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _confidence(logits: Tensor) -> Outputs:
    """One picture's `(classes, h, w)`."""
    likely, mask = logits.softmax(dim=0).max(dim=0)
    return confident(mask, likely, len(logits))
