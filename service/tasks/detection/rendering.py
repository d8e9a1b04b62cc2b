"""Makes the response of `POST /v1/detect` from a model's boxes, scores and masks."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import orjson

from service.errors import MasksTooLarge
from service.imaging.drawing import instance_overlay
from service.imaging.drawing.instance_colours import instance_colours
from service.imaging.drawing.instance_masks import (
    InstanceForm,
    InstanceMask,
    InstancePlan,
    mask_columns,
    pasted_pixels,
)
from service.imaging.drawing.instance_overlay import DrawnInstance, drawable
from service.imaging.drawing.instance_runs import Box
from service.imaging.masks import Colour
from service.models.cards import ModelCard
from service.models.labels import Label, hex_of
from service.tasks.base import DIGITS, DecodedFacts, Drawn, Layer, ModelOutput, Rendering, label_row
from service.tasks.detection.checks import has_masks
from service.tasks.overlays import OverlayKind, check_webp

# Digits after the point of a box, in pixels.
BOX_DIGITS: Final = 2

# The largest width of all masks of an image together in pixels, and for run lengths in widths of a larger image.
# Polygons take ten times as long (`COLUMN_COST`): 64,000 columns are 6 s of a process that may take ten.
MAX_COLUMNS, MAX_WIDTHS = 64_000, 16

# The largest area of all masks of an overlay in pixels, and in areas of a larger image.
MAX_PIXELS, MAX_AREAS = 64_000_000, 4


@dataclass(frozen=True)
class Chosen:
    """The detections of an image that a request asks for: boxes in pixels, labels, colours, and the masks if any."""

    boxes: Sequence[Box]
    scores: Sequence[float]
    labels: Sequence[Label]
    colours: Sequence[Colour]
    masks: Any


@dataclass(frozen=True)
class DetectionRendering(Rendering):
    """Which detections to return, and what to make of them.

    `classes` has for each model's name the ids to return, or None for all. `form` None is without masks. With
    `is_alone` the overlay is the whole response.
    """

    min_score: float
    max_detections: int
    classes: Mapping[str, frozenset[int] | None]
    form: InstanceForm | None
    tolerance: float
    overlay: OverlayKind | None
    compares: bool = False
    is_alone: bool = False

    @property
    def media_types(self) -> list[str]:  # type: ignore[override]
        """Return the media types of the overlay, in any format unless the request names one."""
        if self.compares:
            return []
        return [f"image/{self.overlay}"] if self.overlay else ["image/png", "image/webp"]

    def alone(self, media_type: str) -> "DetectionRendering":
        """Return the same for its overlay, in this format."""
        return replace(self, overlay="webp" if media_type == "image/webp" else "png", is_alone=True)

    def chosen(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput) -> Chosen:
        """Return the detections to show, best first, and of equal rounded scores by class id."""
        arrays = output.arrays
        scores = arrays["scores"].astype(np.float64).clip(0, 1).round(DIGITS)
        shown = scores >= self.min_score
        if (wanted := self.classes[card.name]) is not None:
            shown &= np.isin(arrays["class_ids"], list(wanted))
        indices = np.flatnonzero(shown)
        indices = indices[np.lexsort((arrays["class_ids"][indices], -scores[indices]))][: self.max_detections]
        boxes = arrays["boxes"][indices].astype(np.float64) * [facts.width, facts.height, facts.width, facts.height]
        with_masks = self.form is not None and has_masks(card)
        labels = [card.classes[class_id] for class_id in arrays["class_ids"][indices].tolist()]
        return Chosen(
            [tuple(box) for box in boxes.tolist()],
            scores[indices].tolist(),
            labels,
            instance_colours([label.color for label in labels]),
            arrays["masks"][indices] if with_masks else None,
        )

    def layers(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput) -> list[Layer]:
        """Return the overlay, if requested. Raises `ImageTooLarge` for a large WebP, and `MasksTooLarge`."""
        if self.overlay is None:
            return []
        check_webp(self.overlay, facts)
        found = self.chosen(card, facts, output)
        pasted = 0 if found.masks is None else check_pixels(found.boxes, facts)
        instances = [
            DrawnInstance(box, f"{drawable(label.label, label.class_id)} {score:.2f}", colour, mask)
            for box, score, label, colour, mask in zip(
                found.boxes,
                found.scores,
                found.labels,
                found.colours,
                [None] * len(found.boxes) if found.masks is None else found.masks,
                strict=True,
            )
        ]
        return [Layer(partial(instance_overlay.overlay, instances=instances, kind=self.overlay.upper()), pasted)]

    def painting(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput) -> InstancePlan | None:
        """Return the masks to render; None where none are requested. Raises `MasksTooLarge`."""
        if self.is_alone:
            return None
        found = self.chosen(card, facts, output)
        if found.masks is None or self.form is None:
            return None
        check_columns(found.boxes, facts, self.form)
        return InstancePlan(facts.width, facts.height, found.boxes, found.masks, self.form, self.tolerance)

    def file(self, _card: ModelCard, _facts: DecodedFacts, _output: ModelOutput, drawn: Drawn) -> bytes:
        """Return the overlay."""
        return drawn.files[0]

    def members(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput, drawn: Drawn) -> dict[str, Any]:
        """Return the part of a `DetectedImage` that is about the objects. Raises `MasksTooLarge`."""
        found = self.chosen(card, facts, output)
        plan = None if drawn.painted is not None else self.painting(card, facts, output)
        painted = plan.paint() if plan else drawn.painted
        masks = painted or [None] * len(found.boxes)
        rows = [
            {**detection(label, box, score, colour), **({} if mask is None else self._mask(mask, facts))}
            for box, score, label, colour, mask in zip(
                found.boxes, found.scores, found.labels, found.colours, masks, strict=True
            )
        ]
        return {"detections": rows, **self._overlay(facts, drawn)}

    def _mask(self, mask: InstanceMask, facts: DecodedFacts) -> dict[str, Any]:
        """Return the members of a `Detection` about its mask."""
        if self.form == "rle":
            shape: dict[str, Any] = {"size": (facts.height, facts.width), "counts": mask.counts}
        else:
            shape = {"type": "MultiPolygon", "coordinates": orjson.Fragment(mask.coordinates)}
        return {"pixels": mask.pixels, "mask": {"format": self.form, **shape}}

    def _overlay(self, facts: DecodedFacts, drawn: Drawn) -> dict[str, Any]:
        if not drawn.files:
            return {}
        data = base64.b64encode(drawn.files[0]).decode("ascii")
        size = {"width": facts.width, "height": facts.height}
        return {"overlay": {"format": self.overlay, "encoding": "base64", **size, "data": data}}


def check_columns(boxes: Sequence[Box], facts: DecodedFacts, form: InstanceForm) -> None:
    """Raise `MasksTooLarge` where the masks of these boxes are too wide together to be encoded in this form."""
    limit = max(MAX_COLUMNS, MAX_WIDTHS * facts.width) if form == "rle" else MAX_COLUMNS
    actual = mask_columns(boxes, facts.width, facts.height)
    if actual > limit:
        detail = f"{len(boxes)} masks are {actual} pixels wide together; at most {limit} are encoded as {form}."
        raise MasksTooLarge(detail, limit=limit, actual=actual)


def check_pixels(boxes: Sequence[Box], facts: DecodedFacts) -> int:
    """Return the pixels of the masks of these boxes. Raises `MasksTooLarge` where they are too many to be drawn."""
    limit = max(MAX_PIXELS, MAX_AREAS * facts.width * facts.height)
    actual = pasted_pixels(boxes, facts.width, facts.height)
    if actual > limit:
        detail = f"{len(boxes)} masks have {actual} pixels together; at most {limit} are drawn over this image."
        raise MasksTooLarge(detail, limit=limit, actual=actual)
    return actual


def detection(label: Label, box: Box, score: float, colour: Colour) -> dict[str, Any]:
    """Return a `Detection` document without the members about its mask."""
    left, top, right, bottom = box
    bbox = tuple(round(side, BOX_DIGITS) for side in (left, top, right - left, bottom - top))
    return {**class_row(label), "score": score, "bbox": bbox, "color": hex_of(colour)}


def class_row(label: Label) -> dict[str, Any]:
    """Return a `ClassLabel` document, with the id of COCO's annotations if the label has one."""
    row = label_row(label)
    return row if label.category_id is None else {**row, "category_id": label.category_id}
