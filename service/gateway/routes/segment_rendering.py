"""A model's mask as what was asked for: in a form of its own, over the picture, and as figures of the classes in it."""

import base64
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal

import orjson

from service.errors import ImageTooLarge
from service.gateway.backend.torchserve import Answer
from service.gateway.inference.registry import class_ids, label_of
from service.imaging import masks
from service.imaging.mask_painting import MaskForm, Painted, Plan, paint
from service.models.cards import ModelCard
from service.tasks.decoded import Drawn, Facts, Layer
from service.tasks.operations import OF_QUALITY, Quality, Question
from service.tasks.schemas import SegmentQuery

DIGITS = 6
# The label of a class that the overlay leaves as it is. ADE20K and Pascal-Context have none: their class 0 is a thing.
BACKGROUND = "background"

OverlayKind = Literal["png", "webp"]
OVERLAYS: Final[dict[str, OverlayKind | None]] = {"false": None, "true": "png", "png": "png", "webp": "webp"}
WEBP_SIDE: Final = 16_383  # the most that its header can say


@dataclass(frozen=True)
class Drawing:
    """What to make of a mask; `classes` None is all of them, and without `figures` there are no segments."""

    mask: MaskForm | None = None
    overlay: OverlayKind | None = None
    classes: frozenset[int] | None = None
    tolerance: float = 0.0
    confidence: bool = False
    figures: bool = True
    quality: Quality = "fast"

    @property
    def question(self) -> Question:
        """What the model is asked for it; the best mask comes with the confidence."""
        asked = OF_QUALITY[self.quality]
        return "confidence" if self.confidence and asked == "answer" else asked

    @property
    def alone(self) -> "Drawing":
        """Its file of the first of the media types, and nothing else."""
        return replace(self, mask=None if self.overlay else self.mask, confidence=False, figures=False)

    @property
    def media_types(self) -> list[str]:
        """The media types that one picture's answer can have; the overlay goes before the mask."""
        if self.overlay is not None:
            return [f"image/{self.overlay}"]
        return ["image/png"] if self.mask == "png" else []


@dataclass(frozen=True)
class Rendering:
    """What is told of one mask: its files by name, `mask` if it is no file, and the classes by area."""

    width: int
    height: int
    mask: dict[str, Any] | None
    segments: list[dict[str, Any]]
    files: dict[str, bytes] = field(default_factory=dict)


def asked(card: ModelCard, query: SegmentQuery) -> Drawing:
    """What a query asks for. Raises `InvalidParameter` for a class that the model has not."""
    form = None if query.mask == "none" else query.mask
    classes = frozenset(class_ids(card, query.classes)) if query.classes else None
    overlay = OVERLAYS[query.overlay]
    return Drawing(form, overlay, classes, query.tolerance, query.confidence, quality=query.quality)


def check_webp(kind: OverlayKind | None, facts: Facts) -> None:
    """Raise `ImageTooLarge` for a WebP of a picture that it has no room for."""
    longest = max(facts.width, facts.height)
    if kind == "webp" and longest > WEBP_SIDE:
        detail = f"A WebP has sides of {WEBP_SIDE} pixels at most; ask for overlay=png."
        raise ImageTooLarge(detail, limit=WEBP_SIDE, actual=longest)


def layers(card: ModelCard, drawing: Drawing, facts: Facts, answer: Answer) -> list[Layer]:
    """What is drawn over the upload: the overlay, if asked for. Raises `ImageTooLarge` where its format has no room."""
    if drawing.overlay is None:
        return []
    check_webp(drawing.overlay, facts)
    mask = answer.arrays["mask"]
    if drawing.classes is not None:
        mask = masks.keep(mask, drawing.classes)
    palette = [label.color for label in card.classes]
    clear = [label.class_id for label in card.classes if label.label == BACKGROUND]
    return [partial(masks.overlay, mask=mask, palette=palette, clear=clear, kind=drawing.overlay.upper())]


def planned(card: ModelCard, drawing: Drawing, facts: Facts, answer: Answer) -> Plan:
    """What is painted of an answer."""
    return Plan(
        facts.width,
        facts.height,
        answer.arrays["mask"],
        answer.arrays["class_scores"],
        [label.color for label in card.classes],
        drawing.mask,
        drawing.classes,
        drawing.tolerance,
        answer.arrays["confidence"] if drawing.confidence else None,
        drawing.figures,
    )


def render(card: ModelCard, drawing: Drawing, facts: Facts, answer: Answer, drawn: Drawn) -> Rendering:
    """What was asked for; `drawn` is what was made of `layers` and, where that was done elsewhere, painted."""
    painted = drawn.painted or paint(planned(card, drawing, facts, answer))
    files = painted.files | ({"overlay": drawn.files[0]} if drawn.files else {})
    segments = [_segment(card, figure) for figure in painted.figures]
    told = None
    if drawing.mask == "rle":
        told = _run_lengths(painted, facts)
    if drawing.mask == "polygons":
        told = _polygons(card, painted)
    return Rendering(facts.width, facts.height, told, segments, files)


def in_json(rendering: Rendering, drawing: Drawing) -> dict[str, Any]:
    """The members of a `schemas.SegmentedPicture` that were drawn, and its segments."""
    size = {"width": rendering.width, "height": rendering.height}
    formats = {"mask": drawing.mask, "overlay": drawing.overlay, "confidence": "png"}
    drawn = {
        name: {"format": formats[name], "encoding": "base64", **size, "data": base64.b64encode(data).decode("ascii")}
        for name in formats
        if (data := rendering.files.get(name)) is not None
    }
    told = {} if rendering.mask is None else {"mask": {"format": drawing.mask, **size, **rendering.mask}}
    return {**drawn, **told, "segments": rendering.segments}


def _segment(card: ModelCard, figure: masks.Figure) -> dict[str, Any]:
    label = card.classes[figure.class_id]
    return {
        **label_of(label),
        "color": label.hex_color,
        "pixels": figure.pixels,
        "share": round(figure.share, DIGITS),
        "bbox": figure.bbox,
        "score": round(min(max(figure.score, 0.0), 1.0), DIGITS),
    }


def _run_lengths(painted: Painted, facts: Facts) -> dict[str, Any]:
    """The rest of a `schemas.RunLengths`."""
    size = (facts.height, facts.width)
    found = painted.run_lengths.items()
    return {"masks": [{"class_id": class_id, "size": size, "counts": counts} for class_id, counts in found]}


def _polygons(card: ModelCard, painted: Painted) -> dict[str, Any]:
    """The rest of a `schemas.Polygons`."""
    features = [
        {
            "type": "Feature",
            "properties": label_of(card.classes[class_id]),
            "geometry": {"type": "MultiPolygon", "coordinates": orjson.Fragment(coordinates)},
        }
        for class_id, coordinates in painted.polygons.items()
    ]
    return {"type": "FeatureCollection", "features": features}
