"""A model's mask as what was asked for: in a form of its own, over the picture, and as figures of the classes in it."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from service import masks, outlines, run_lengths
from service.cards import ModelCard
from service.errors import ImageTooLarge
from service.gateway.backend import Answer
from service.gateway.catalogue import class_ids, label_of
from service.gateway.decoding import Facts, Layer
from service.questions import OF_QUALITY, Quality, Question
from service.schemas import SegmentQuery

DIGITS = 6
# The label of a class that the overlay leaves as it is. ADE20K and Pascal-Context have none: their class 0 is a thing.
BACKGROUND = "background"

MaskForm = Literal["png", "rle", "polygons"]
OverlayKind = Literal["png", "webp"]
OVERLAYS: Final[dict[str, OverlayKind | None]] = {"false": None, "true": "png", "png": "png", "webp": "webp"}
WEBP_SIDE: Final = 16_383  # the most that its header can say


@dataclass(frozen=True)
class Drawing:
    """What to make of a mask; `classes` None is all of them."""

    mask: MaskForm | None = None
    overlay: OverlayKind | None = None
    classes: frozenset[int] | None = None
    tolerance: float = 0.0
    confidence: bool = False
    quality: Quality = "fast"

    @property
    def question(self) -> Question:
        """What the model is asked for it; the best mask comes with the confidence."""
        asked = OF_QUALITY[self.quality]
        return "confidence" if self.confidence and asked == "answer" else asked

    @property
    def media_types(self) -> list[str]:
        """The media types that one picture's answer can have; the overlay goes before the mask."""
        if self.overlay is not None:
            return [f"image/{self.overlay}"]
        return ["image/png"] if self.mask == "png" else []


@dataclass(frozen=True)
class Rendering:
    """What one thread makes of one mask: its files by name, `mask` if it is no file, and the classes by area."""

    width: int
    height: int
    mask: dict[str, Any] | None
    segments: list[dict[str, Any]]
    files: dict[str, bytes] = field(default_factory=dict)


def asked(card: ModelCard, query: SegmentQuery) -> Drawing:
    """What a query asks for. Raises `InvalidParameter` for a class that the model has not."""
    form = None if query.mask == "none" else query.mask
    classes = frozenset(class_ids(card, query.classes)) if query.classes else None
    return Drawing(form, OVERLAYS[query.overlay], classes, query.tolerance, query.confidence, query.quality)


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


def render(card: ModelCard, drawing: Drawing, facts: Facts, answer: Answer, drawn: Sequence[bytes]) -> Rendering:
    """Draw what was asked for; `drawn` is what was made of `layers`."""
    mask = masks.fit(answer.arrays["mask"], facts.width, facts.height)
    if drawing.classes is not None:
        mask = masks.keep(mask, drawing.classes)
    files = {}
    if drawing.mask == "png":
        files["mask"] = masks.png(mask, [label.color for label in card.classes])
    if drawn:
        files["overlay"] = drawn[0]
    if drawing.confidence:
        files["confidence"] = masks.grey(masks.fit(answer.arrays["confidence"], facts.width, facts.height))
    figures = masks.figures(mask, answer.arrays["class_scores"])
    told = FORMS[drawing.mask](card, answer.arrays["mask"], mask, drawing) if drawing.mask in FORMS else None
    return Rendering(facts.width, facts.height, told, [_segment(card, figure) for figure in figures], files)


def in_json(rendering: Rendering, drawing: Drawing) -> dict[str, Any]:
    """The members of a `schemas.SegmentedPicture` that were drawn, and its segments."""
    size = {"width": rendering.width, "height": rendering.height}
    formats = {"mask": drawing.mask, "overlay": drawing.overlay, "confidence": "png"}
    drawn = {
        name: {"format": formats[name], "encoding": "base64", **size, "data": base64.b64encode(data).decode("ascii")}
        for name, data in rendering.files.items()
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


def _run_lengths(_card: ModelCard, _raw: masks.Mask, mask: masks.Mask, _drawing: Drawing) -> dict[str, Any]:
    """The rest of a `schemas.RunLengths`."""
    return {
        "masks": [
            {"class_id": class_id, "size": mask.shape, "counts": counts}
            for class_id, counts in run_lengths.encode(mask).items()
        ]
    }


def _polygons(card: ModelCard, raw: masks.Mask, mask: masks.Mask, drawing: Drawing) -> dict[str, Any]:
    """The rest of a `schemas.Polygons`; the borders are those of all classes, so that a filter does not move them."""
    height, width = mask.shape
    found = outlines.polygons(raw, width, height, drawing.tolerance)
    features = [
        {
            "type": "Feature",
            "properties": label_of(card.classes[class_id]),
            "geometry": {"type": "MultiPolygon", "coordinates": coordinates},
        }
        for class_id, coordinates in found.items()
        if drawing.classes is None or class_id in drawing.classes
    ]
    return {"type": "FeatureCollection", "features": features}


FORMS: Final[dict[str | None, Callable[[ModelCard, masks.Mask, masks.Mask, Drawing], dict[str, Any]]]] = {
    "rle": _run_lengths,
    "polygons": _polygons,
}
