"""The torch code of classification: probabilities, embeddings and explanations."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from service.models.calibration import Calibration
from service.models.cards import CardError, ModelCard
from service.networks.resnet import ResNet
from service.networks.segmentation import Segmenter
from service.networks.split_attention import SplitAttentionConv2d
from service.tasks.classification import domain_head
from service.tasks.classification.domain_head import DomainHead
from service.tasks.torch_head import Forward, ImageSize, LoadedNetwork, Outputs, Postprocess, TorchHead, call


def check(card: ModelCard, network: nn.Module) -> None:
    """Raise `CardError` where the network is a segmenter."""
    if isinstance(network, Segmenter):
        raise CardError(f"{card.name}: its network {card.network.name} is not for {card.task}")


def forward(card: ModelCard) -> Forward:
    """Return the function from images to logits, or to logits and features where a domain score needs them.

    An int8 network is compiled before it is calibrated, so it always has the features.
    """
    has_domain = card.calibration is not None and card.calibration.domain is not None
    return with_features if has_domain or card.serving.precision == "int8" else call


def with_features(network: nn.Module, x: Tensor) -> Tensor:
    """Return logits and, for networks of this project, the input of the last layer: `(n, classes + 2048)`."""
    if not isinstance(network, ResNet):
        return call(network, x)
    features = network.pooled(x)
    return torch.cat([network.fc(features), features], dim=1)


def postprocess(card: ModelCard, _network: nn.Module) -> Postprocess:
    """Return the function from what `forward` returns to probabilities. Raises `CardError` as `domain_head.of_card`."""
    domain = domain_head.of_card(card)

    def outputs(computed: Tensor, size: ImageSize) -> Outputs:
        logits, features = computed[:, : card.network.classes], computed[:, card.network.classes :]
        return probabilities(logits, size, card.calibration) | domain_score(card, domain, features)

    return outputs


def probabilities(logits: Tensor, _size: ImageSize, calibration: Calibration | None = None) -> Outputs:
    """Return `scores` (n, classes) float32, the probability of each class, from logits `(n, classes)`.

    With a calibration, their temperature is its own, and `max_logit` (n, 1) float32 is the largest logit, without it.
    """
    logits = logits.float()
    if calibration is None:
        return {"scores": logits.softmax(dim=1)}
    scores = (logits / calibration.temperature).softmax(dim=1)
    return {"scores": scores, "max_logit": logits.amax(dim=1, keepdim=True)}


def domain_score(card: ModelCard, domain: DomainHead | None, features: Tensor) -> Outputs:
    """Return `domain_score` (n, 1) float32 from features `(n, d)`, or nothing without a domain head.

    Raises `CardError` if the network returns other features than the head takes.
    """
    if domain is None:
        return {}
    if features.shape[1] != domain.weight.shape[1]:
        raise CardError(
            f"{card.name}: its domain score takes {domain.weight.shape[1]} features, and the network returns "
            f"{features.shape[1]}; quantise an int8 network again, then calibrate it"
        )
    return {"domain_score": domain.score(features)}


def embed(loaded: LoadedNetwork, x: Tensor) -> Outputs:
    """Return `embedding` (n, 2048): the input of the last layer, the mean of the last stage's map."""
    return {"embedding": loaded.network.stages(x)[-1].float().mean(dim=(2, 3))}


def explain(loaded: LoadedNetwork, x: Tensor) -> Outputs:
    """Return class activation maps (arXiv 1512.04150, equation 2) and the weights of the splits.

    `maps` (n, classes, h/32, w/32) and `bias` (n, classes) explain the logits. A class's logit is exactly the sum of
    its bias and its map's mean, because all of these networks end in a mean and a linear layer. `scores` (n, classes)
    are probabilities, with `max_logit` and `domain_score` as in `predict`. A network with b Split-Attention blocks also
    returns three outputs. `splits` and `spread` (n, b, radix) are the mean and deviation of each split's weight over
    the channels. `stage` (n, b) is 1 to 4.
    """
    network = loaded.network
    with _attention(network) as weights:
        features = network.stages(x)[-1].float()
    maps = torch.einsum("nkhw,ck->nchw", features, network.fc.weight.float())
    bias = network.fc.bias.float().expand(len(x), -1)
    logits = maps.mean(dim=(2, 3)) + bias
    outputs: Outputs = {"maps": maps, "bias": bias, **probabilities(logits, (0, 0), loaded.card.calibration)}
    outputs |= domain_score(loaded.card, domain_head.of_card(loaded.card), features.mean(dim=(2, 3)))
    if not weights:
        return outputs
    stages = [stage for stage, _ in weights]
    return outputs | {
        "splits": torch.stack([each.mean(dim=2) for _, each in weights], dim=1),
        "spread": torch.stack([each.std(dim=2, correction=0) for _, each in weights], dim=1),
        "stage": torch.tensor(stages, dtype=torch.uint8).expand(len(x), -1),
    }


@contextmanager
def _attention(network: nn.Module) -> Iterator[list[tuple[int, Tensor]]]:
    """Record the stage and the weights (n, radix, channels) of each Split-Attention block that runs in the `with`."""
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


# Measured, milliseconds per image on one core in both memory formats: resnest14 at 160 px 25.5 and 25.5 (channels
# last), resnest50 at 224 px 116 and 125.
HEAD: Final = TorchHead(
    check, postprocess, forward, operations={"embed": embed, "explain": explain}, has_fixed_size=True
)
