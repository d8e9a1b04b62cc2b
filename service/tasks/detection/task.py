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
PLAIN: Final = re.compile(r"(faster|mask|cascade|cascade_mask)_rcnn_resnet\d+$")
PUBLISHED_RESNEST: Final = re.compile(r"(mmdet_)?(faster|mask|cascade|cascade_mask)_rcnn_resnest\d+$")
RESNEST_STATISTICS: Final = {
    "mean": [0.4850196078, 0.4579568627, 0.4076039216],
    "std": [0.2289921569, 0.224, 0.225],
}


def _detections_bytes(card: ModelCard) -> int:
    return MAX_DETECTIONS * (BOX_BYTES + (MASK_SIDE**2 if has_masks(card) else 0))


def label(row: Label) -> dict[str, Any]:
    """Return a class with its colour in overlays, and its id in COCO's annotations."""
    return class_row(row) | {"color": row.hex_color}


def details(card: ModelCard) -> dict[str, Any]:
    """Return whether the model has masks, and how many proposals it classifies."""
    return {"masks": has_masks(card), "proposals": card.network.proposals or PROPOSALS}


def imported_input(network: str) -> dict[str, Any]:
    """Return the input of the published models of a network. No weight shows it, and with another they detect less.

    The authors' plain ResNets take levels of 0 to 255, and the ResNeSts of both families have their own statistics.
    """
    resize = "opencv_linear" if network.startswith("mmdet_") else "bilinear"
    table: dict[str, Any] = {"profile": "proportional", "size": 1333, "short": 800, "interpolation": resize}
    if PLAIN.match(network):
        return table | {"mean": [0.485, 0.456, 0.406], "std": [0.00392156863] * 3}
    return table | RESNEST_STATISTICS if PUBLISHED_RESNEST.match(network) else table


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
    imported_input=imported_input,
    imported_serving={"batch_size": 1, "deadline_s": 120},
    networks=re.compile(r"\w*rcnn_"),
    has_colours=True,
    label=label,
    details=details,
)
