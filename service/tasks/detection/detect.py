"""`POST /v1/detect`: images to boxes, scores and masks of objects."""

from collections.abc import Sequence
from typing import Final

from service.imaging.drawing.instance_masks import InstanceForm
from service.models.cards import ModelCard
from service.tasks.base import Endpoint, class_ids, invalid
from service.tasks.detection import examples
from service.tasks.detection.checks import has_masks
from service.tasks.detection.rendering import DetectionRendering
from service.tasks.detection.schema import CompareDetectionsResponse, DetectQuery, DetectResponse
from service.tasks.overlays import OVERLAYS


def plan(cards: Sequence[ModelCard], query: DetectQuery) -> DetectionRendering:
    """Return what the query asks for.

    Raises `InvalidParameter` for a class that a model does not have, masks of a model without them, and an overlay of
    several models.
    """
    if query.overlay != "false" and len(cards) > 1:
        raise invalid("overlay", "An overlay is of one model; ask each model alone.", limit=1, actual=len(cards))
    return DetectionRendering(
        min_score=query.min_score,
        max_detections=query.max_detections,
        classes={card.name: frozenset(class_ids(card, query.classes)) if query.classes else None for card in cards},
        form=_form(cards, query),
        tolerance=query.tolerance,
        overlay=OVERLAYS[query.overlay],
        compares=len(cards) > 1,
    )


def _form(cards: Sequence[ModelCard], query: DetectQuery) -> InstanceForm | None:
    if query.mask == "none":
        return None
    without = [card.name for card in cards if not has_masks(card)]
    if query.mask is not None and without:
        raise invalid("mask", f"{', '.join(without)} has no masks, only boxes; leave mask out, or ask for mask=none.")
    return query.mask or "rle"


DETECT: Final = Endpoint(
    path="/v1/detect",
    summary="Detect objects",
    description="Return the boxes of the objects in each image, and their masks from models that have them, by one "
    "model or by several side by side.\n\n"
    "With `Accept: image/png` or `image/webp`, one image with boxes, labels and masks over it is the response.",
    query=DetectQuery,
    responses=(DetectResponse, CompareDetectionsResponse),
    examples=examples.detect,
    plan=plan,
    image_types=("image/png", "image/webp"),
    compares_models=True,
)
