"""`POST /v1/segment`: images to masks."""

from collections.abc import Sequence
from typing import Final

from service.models.cards import ModelCard
from service.tasks.base import PREDICT, Endpoint, class_ids
from service.tasks.overlays import OVERLAYS
from service.tasks.segmentation import examples
from service.tasks.segmentation.rendering import MaskRendering
from service.tasks.segmentation.schema import SegmentQuery, SegmentResponse

CONFIDENCE: Final = "predict_confidence"
MULTISCALE: Final = "predict_multiscale"


def operation(query: SegmentQuery) -> str:
    """Return the operation by which a model is chosen. Confidence alone does not restrict the choice."""
    return MULTISCALE if query.quality == "best" else PREDICT


def plan(cards: Sequence[ModelCard], query: SegmentQuery) -> MaskRendering:
    """Return what the query asks for. Raises `InvalidParameter` for a class that the model does not have."""
    (card,) = cards
    chosen = operation(query)
    return MaskRendering(
        mask=None if query.mask == "none" else query.mask,
        overlay=OVERLAYS[query.overlay],
        classes=frozenset(class_ids(card, query.classes)) if query.classes else None,
        tolerance=query.tolerance,
        confidence=query.confidence,
        operation=CONFIDENCE if query.confidence and chosen == PREDICT else chosen,  # multiscale includes it
    )


SEGMENT: Final = Endpoint(
    path="/v1/segment",
    summary="Segment images",
    description="Return the class of each pixel of each image.\n\n"
    "With `Accept: image/png`, or `image/webp` and `overlay=webp`, one image's mask, or overlay, is the response.",
    query=SegmentQuery,
    responses=(SegmentResponse,),
    examples=examples.segment,
    plan=plan,
    operation=operation,
    image_types=("image/png", "image/webp"),
)
