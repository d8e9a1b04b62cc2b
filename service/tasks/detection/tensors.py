"""Detections as tensors of the Open Inference Protocol."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from service.models.cards import ModelCard
from service.tasks.base import Arrays, DecodedFacts
from service.tasks.detection.checks import MASK_SIDE, MAX_DETECTIONS, has_masks

MASKS: Final = "masks"


class DetectionParameters(BaseModel):
    """The parameters of a request for tensors. Without them, all detections of the model are returned."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    min_score: float = Field(default=0, ge=0, le=1, description="Only detections with at least this score.")
    max_detections: int = Field(
        default=MAX_DETECTIONS, ge=1, le=MAX_DETECTIONS, strict=True, description="Only so many of each image."
    )


def v2_outputs(card: ModelCard) -> dict[str, dict[str, Any]]:
    """Return the outputs of the protocol. The second axis is the largest number of detections in one image."""
    outputs: dict[str, dict[str, Any]] = {
        "num_detections": {"datatype": "INT32", "shape": [-1]},
        "boxes": {"datatype": "FP32", "shape": [-1, -1, 4]},
        "scores": {"datatype": "FP32", "shape": [-1, -1]},
        "class_ids": {"datatype": "INT32", "shape": [-1, -1]},
    }
    if has_masks(card):
        outputs[MASKS] = {"datatype": "UINT8", "shape": [-1, -1, MASK_SIDE, MASK_SIDE]}
    return outputs


def v2_arrays(
    card: ModelCard, rows: Sequence[tuple[DecodedFacts, Arrays]], parameters: DetectionParameters
) -> dict[str, Any]:
    """Return the outputs of several images. Images with fewer detections have rows of 0, with the class id -1.

    `boxes` are left, top, right and bottom in pixels of the upright image.
    """
    counts = [
        min(int((arrays["scores"] >= parameters.min_score).sum()), parameters.max_detections) for _, arrays in rows
    ]
    size = (len(rows), max(counts, default=0))
    found: dict[str, Any] = {
        "num_detections": np.array(counts, np.int32),
        "boxes": np.zeros((*size, 4), np.float32),
        "scores": np.zeros(size, np.float32),
        "class_ids": np.full(size, -1, np.int32),
    }
    if has_masks(card):
        found[MASKS] = np.zeros((*size, MASK_SIDE, MASK_SIDE), np.uint8)
    for index, ((facts, arrays), count) in enumerate(zip(rows, counts, strict=True)):
        for name in found.keys() - {"num_detections", "boxes"}:
            found[name][index, :count] = arrays[name][:count]
        sides = np.array([facts.width, facts.height, facts.width, facts.height], np.float32)
        found["boxes"][index, :count] = arrays["boxes"][:count] * sides
    return found
