"""The torch code of detection: one image to boxes, scores and masks, through the graphs of a detector.

Each image is computed alone, padded to its own size, so that no other image changes its outputs. Between the graphs
everything is float32: bfloat16 has a spacing of 4 pixels at a coordinate of 1,000.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from service.models.cards import CardError, ModelCard
from service.networks.detection import boxes as geometry
from service.networks.detection.detector import Detector, ImageGeometry, Instances, Networks, detect
from service.networks.detection.heads import BOX_BINS, MASK_BINS
from service.networks.detection.proposals import MAX_PROPOSALS
from service.networks.detection.spec import Rules
from service.networks.detection.trunk import TrunkOutput
from service.tasks.detection.checks import has_masks
from service.tasks.torch_head import GraphPart, MultiGraph, Postprocess, RunGraph, TorchHead

STRIDE: Final = 32  # of the coarsest map of the backbone; the network's input is padded to a multiple of it
LEVELS: Final = 255  # of a mask, which stand for a probability of 1


def check(card: ModelCard, network: nn.Module) -> None:
    """Raise `CardError` where the network is no detector, or does not have the masks or the filter of the card."""
    if not isinstance(network, Detector):
        raise CardError(f"{card.name}: its network {card.network.name} is not for {card.task}")
    if bool(network.spec.masks) is not has_masks(card):
        raise CardError(f"{card.name}: only networks with mask_rcnn in their names have masks")
    if card.input.interpolation != (resize := network.spec.rules.resize):
        name = card.network.name
        raise CardError(f'{card.name}: {name} was trained on images that were resized by "{resize}"; set interpolation')


def postprocess(_card: ModelCard, _network: nn.Module) -> Postprocess:
    """Raise `CardError`: a detector is no single graph."""
    raise CardError("a detector consists of several graphs")


def multi_graph(card: ModelCard, network: nn.Module, normalise: nn.Module) -> MultiGraph:
    """Return the graphs of a `Detector`: `trunk`, and for each stage `box_head_<k>` and `mask_head_<k>`."""
    if not isinstance(network, Detector):
        raise TypeError(f"{type(network).__name__} is not a detector")
    channels = network.spec.channels
    parts = {"trunk": GraphPart(network.trunk, (1, 3, 2 * STRIDE, 3 * STRIDE), (2, 3))}
    for kind, heads, bins in (("box", network.box_heads, BOX_BINS), ("mask", network.mask_heads, MASK_BINS)):
        for index, head in enumerate(heads):
            parts[f"{kind}_head_{index}"] = GraphPart(head, (2, channels, bins, bins), (0,))
    proposals = card.network.proposals or MAX_PROPOSALS
    return MultiGraph(parts, partial(run, network.spec.rules, normalise, proposals))


def run(
    rules: Rules, normalise: nn.Module, proposals: int, graphs: Mapping[str, RunGraph], image: Tensor
) -> dict[str, Tensor]:
    """Return the detections in an image `(1, h, w, 3)` uint8, best first.

    `boxes` (k, 4) float32 are left, top, right and bottom as fractions of the image's width and height. `scores` (k,)
    are float32, and `class_ids` (k,) uint16. With mask heads, `masks` (k, 28, 28) uint8 are 255 times the probability
    inside each box. Raises `ArithmeticError` where a graph returns values that are not finite.
    """
    height, width = image.shape[1:3]
    padded = functional.pad(normalise(image), (0, -width % STRIDE, 0, -height % STRIDE))
    found = detect(_networks(graphs), rules, padded, ImageGeometry((height, width), (height, width)), proposals)
    return _outputs(found, height, width)


def _networks(graphs: Mapping[str, RunGraph]) -> Networks:
    def trunk(padded: Tensor) -> TrunkOutput:
        found = TrunkOutput(*graphs["trunk"](padded))
        _require_finite("region proposals", found.objectness, found.deltas)
        return found

    def box_head(graph: RunGraph, features: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = graph(features)
        _require_finite("boxes", logits, deltas)
        return logits, deltas

    def mask_head(graph: RunGraph, features: Tensor) -> Tensor:
        (logits,) = graph(features)
        _require_finite("masks", logits)
        return logits

    heads = {kind: [graphs[name] for name in graphs if name.startswith(kind)] for kind in ("box", "mask")}
    return Networks(
        trunk, [partial(box_head, each) for each in heads["box"]], [partial(mask_head, each) for each in heads["mask"]]
    )


def _require_finite(what: str, *values: Tensor) -> None:
    """Raise `ArithmeticError` for infinite values or NaN, which would otherwise only look like an empty image."""
    if not all(bool(each.isfinite().all()) for each in values):
        raise ArithmeticError(f"the network's {what} are not finite")


def _outputs(found: Instances, height: int, width: int) -> dict[str, Tensor]:
    """Return the outputs of `run` without boxes that have no area."""
    boxes, scores, class_ids = found.detections
    kept = geometry.not_empty(boxes)
    outputs = {
        "boxes": boxes[kept].float() / boxes.new_tensor([width, height, width, height]),
        "scores": scores[kept].float(),
        "class_ids": class_ids[kept].to(torch.uint16),
    }
    if found.masks is not None:
        outputs["masks"] = (found.masks[kept] * LEVELS).round().to(torch.uint8)
    return outputs


HEAD: Final = TorchHead(check, postprocess, multi_graph=multi_graph)
