"""Detection as data."""

import re
from typing import Any, Final

from service.models.cards import ModelCard
from service.models.labels import Label
from service.tasks.base import PREDICT, Operation, Task
from service.tasks.detection.agreement import agreement
from service.tasks.detection.checks import MASK_SIDE, MAX_DETECTIONS, detections_fit, has_masks
from service.tasks.detection.detect import DETECT
from service.tasks.detection.rendering import class_row
from service.tasks.detection.tensors import MASKS, DetectionParameters, v2_arrays, v2_outputs

BOX_BYTES: Final = 4 * 4 + 4 + 2  # of a box, a score and a class id
PROPOSALS: Final = 1000  # where the card does not say


def _detections_bytes(card: ModelCard) -> int:
    return MAX_DETECTIONS * (BOX_BYTES + (MASK_SIDE**2 if has_masks(card) else 0))


def label(row: Label) -> dict[str, Any]:
    """Return a class with its colour in overlays, and its id in COCO's annotations."""
    return class_row(row) | {"color": row.hex_color}


def details(card: ModelCard) -> dict[str, Any]:
    """Return whether the model has masks, and how many regions it classifies."""
    return {"masks": has_masks(card), "proposals": card.network.proposals or PROPOSALS}


DETECTION: Final = Task(
    name="detection",
    scope="detect",
    operations=(Operation(PREDICT, detections_fit, _detections_bytes, batch_size=lambda _card: 1),),
    endpoints=(DETECT,),
    head="service.tasks.detection.head",
    scoring="service.tasks.detection.scoring",
    v2_outputs=v2_outputs,
    v2_arrays=v2_arrays,
    v2_parameters=DetectionParameters,
    v2_on_request=frozenset({MASKS}),
    agreement=agreement,
    published_score=("BOX AP", "box_ap"),
    imported_input={"profile": "proportional", "size": 1333, "short": 800, "interpolation": "bilinear"},
    imported_serving={"batch_size": 1, "deadline_s": 120},
    networks=re.compile(r"\w*rcnn_"),
    has_colours=True,
    label=label,
    details=details,
)
