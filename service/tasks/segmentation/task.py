"""Segmentation as data."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from service.models.cards import ModelCard
from service.models.inputs import Input
from service.models.labels import Label
from service.tasks.base import PREDICT, Operation, Task, label_row, same_labels
from service.tasks.frame import Array
from service.tasks.segmentation import multiscale
from service.tasks.segmentation.checks import confidence_fits, mask_fits
from service.tasks.segmentation.segment import CONFIDENCE, MULTISCALE, SEGMENT

# The long side in pixels of the input of `predict_multiscale`, at least twice that of the largest scale of the authors'
# networks. Few images are larger. Of a larger one the protocol would skip pixels when it reduces the image.
MULTISCALE_SIDE: Final = 2048
MULTISCALE_DEADLINES: Final = 10  # times the deadline of a single pass, where the card names none
MULTISCALE_IMAGES: Final = 4  # in one request
MULTISCALE_SLOTS: Final = 8  # per image: its pixels take up to sixteen times the memory of a single pass


def multiscale_input(card: ModelCard) -> Input:
    """Return the image as it is, at most `MULTISCALE_SIDE` pixels long: the worker scales it itself."""
    return card.input.model_copy(update={"profile": "whole", "size": MULTISCALE_SIDE, "short": None, "multiple": 1})


def multiscale_cost(card: ModelCard) -> float:
    """Return the cost of all passes, in single passes."""
    return multiscale.cost(card.input, card.multiscale)


def multiscale_deadline_s(card: ModelCard) -> float:
    """Return the deadline of the card, or `MULTISCALE_DEADLINES` times that of a single pass."""
    return card.multiscale.deadline_s or MULTISCALE_DEADLINES * card.serving.deadline_s


def _mask_bytes(card: ModelCard) -> int:
    return math.prod(card.input.largest) + 4 * card.network.classes


def _confidence_bytes(card: ModelCard) -> int:
    return 2 * math.prod(card.input.largest) + 4 * card.network.classes


def _multiscale_bytes(card: ModelCard) -> int:
    return 2 * math.prod(multiscale_input(card).largest) + 4 * card.network.classes


def v2_outputs(card: ModelCard) -> dict[str, dict[str, Any]]:
    """Return the outputs of the Open Inference Protocol. The sides of a mask are those of the network's input."""
    return {
        "mask": {"datatype": "UINT8", "shape": [-1, -1, -1]},
        "class_scores": {"datatype": "FP32", "shape": [-1, card.network.classes]},
    }


def agreement(card: ModelCard, ours: Mapping[str, Array], other: ModelCard, theirs: Mapping[str, Array]) -> float:
    """Return the share of the mask's pixels with the same label. A mask of another size is sampled at these pixels."""
    first, second = ours["mask"], theirs["mask"]
    rows, columns = (np.arange(length) * side // length for length, side in zip(first.shape, second.shape, strict=True))
    return float((same_labels(card, other)[second[np.ix_(rows, columns)]] == first).mean())


def label(row: Label) -> dict[str, Any]:
    """Return a class with its colour in masks."""
    return label_row(row) | {"color": row.hex_color}


def details(card: ModelCard) -> dict[str, Any]:
    """Return what `quality=best` does, if the model can do it."""
    operation = SEGMENTATION.by_name[MULTISCALE]
    if not operation.runs_on(card):
        return {}
    facts = {"scales": card.multiscale.scales, "window": multiscale.window(card.input, card.multiscale)}
    times = {"cost": round(operation.cost(card), 1), "deadline_s": operation.deadline_s(card)}
    return {"best": {**facts, **times}}


# What differs by the head of MMSegmentation's networks. DANet's memory grows with the square of the pixels.
INPUT_OF_HEAD: Final[dict[str, dict[str, int]]] = {
    "da_": {"size": 1024},
    "psa": {"multiple": 16},
    "uper": {"multiple": 32},
}


def imported_input(network: str) -> dict[str, Any]:
    """Return the input of the published models of a network for ADE20K."""
    table: dict[str, Any] = {"profile": "proportional", "size": 520, "interpolation": "bilinear", "multiple": 8}
    if not network.startswith("mmseg_"):
        return table
    of_head = (own for head, own in INPUT_OF_HEAD.items() if network.startswith(f"mmseg_{head}"))
    return table | {"size": 2048, "short": 512} | next(of_head, {})


SEGMENTATION: Final = Task(
    name="segmentation",
    scope="segment",
    operations=(
        Operation(PREDICT, mask_fits, _mask_bytes),
        Operation(CONFIDENCE, confidence_fits, _confidence_bytes),
        Operation(
            MULTISCALE,
            confidence_fits,
            _multiscale_bytes,
            input=multiscale_input,
            cost=multiscale_cost,
            deadline_s=multiscale_deadline_s,
            batch_size=lambda _card: 1,  # it fills batches by itself
            slots=MULTISCALE_SLOTS,
            max_images=MULTISCALE_IMAGES,
            has_own_queue=True,
        ),
    ),
    endpoints=(SEGMENT,),
    head="service.tasks.segmentation.head",
    scoring="service.tasks.segmentation.scoring",
    v2_outputs=v2_outputs,
    agreement=agreement,
    published_score=("MIOU", "miou"),
    imported_input=imported_input,
    networks=re.compile("deeplab_|fcn_|mmseg_"),
    has_colours=True,
    label=label,
    details=details,
)
