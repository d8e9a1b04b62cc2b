"""Render a mask: in the requested form, as an overlay, and as the segments of its classes."""

import base64
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import orjson

from service.imaging import masks
from service.imaging.mask_painting import MaskForm, MaskPlan, Painted, paint
from service.models.cards import ModelCard
from service.models.labels import BACKGROUND
from service.tasks.base import DIGITS, PREDICT, DecodedFacts, Drawn, Layer, ModelOutput, Rendering, label_row
from service.tasks.overlays import OverlayKind, check_webp

# Overlays leave a class of this colour as it is, and one with the label `BACKGROUND`. Labels may be in any language.
# ADE20K and Pascal-Context have neither: their class 0 is a thing.
BLACK: Final = (0, 0, 0)


@dataclass(frozen=True)
class MaskRendering(Rendering):
    """What to make of a mask. `classes` None means all of them; `segments` says whether to list them."""

    mask: MaskForm | None = None
    overlay: OverlayKind | None = None
    classes: frozenset[int] | None = None
    tolerance: float = 0.0
    confidence: bool = False
    segments: bool = True
    operation: str = PREDICT

    @property
    def media_types(self) -> list[str]:  # type: ignore[override]
        """Return the media types that one image's response can have. The overlay comes before the mask."""
        if self.overlay is not None:
            return [f"image/{self.overlay}"]
        return ["image/png"] if self.mask == "png" else []

    def alone(self, _media_type: str) -> "MaskRendering":
        """Return the same for its file of the first of the media types, and nothing else."""
        return replace(self, mask=None if self.overlay else self.mask, confidence=False, segments=False)

    def layers(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput) -> list[Layer]:
        """Return the overlay, if requested. Raises `ImageTooLarge` for a WebP larger than its format allows."""
        if self.overlay is None:
            return []
        check_webp(self.overlay, facts)
        mask = output.arrays["mask"]
        if self.classes is not None:
            mask = masks.select_classes(mask, self.classes)
        palette = [label.color for label in card.classes]
        clear = [each.class_id for each in card.classes if each.label.casefold() == BACKGROUND or each.color == BLACK]
        return [Layer(partial(masks.overlay, mask=mask, palette=palette, clear=clear, kind=self.overlay.upper()))]

    def painting(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput) -> MaskPlan | None:
        """Return what to paint of the mask; None where the response is only an overlay."""
        if self.overlay is not None and not self.segments:
            return None
        return self._plan(card, facts, output)

    def file(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput, drawn: Drawn) -> bytes:
        """Return the overlay or the mask."""
        return drawn.files[0] if drawn.files else self._painted(card, facts, output, drawn).files["mask"]

    def members(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput, drawn: Drawn) -> dict[str, Any]:
        """Return the part of a `SegmentedImage` that was rendered."""
        painted = self._painted(card, facts, output, drawn)
        files = painted.files | ({"overlay": drawn.files[0]} if drawn.files else {})
        size = {"width": facts.width, "height": facts.height}
        formats = {"mask": self.mask, "overlay": self.overlay, "confidence": "png"}
        rendered: dict[str, Any] = {
            name: {"format": kind, "encoding": "base64", **size, "data": base64.b64encode(files[name]).decode("ascii")}
            for name, kind in formats.items()
            if name in files
        }
        if self.mask == "rle":
            rendered["mask"] = {"format": "rle", **size, **_run_lengths(painted, facts)}
        if self.mask == "polygons":
            rendered["mask"] = {"format": "polygons", **size, **_polygons(card, painted)}
        return {**rendered, "segments": [_segment(card, segment) for segment in painted.segments]}

    def _painted(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput, drawn: Drawn) -> Painted:
        return drawn.painted or paint(self._plan(card, facts, output))

    def _plan(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput) -> MaskPlan:
        return MaskPlan(
            facts.width,
            facts.height,
            output.arrays["mask"],
            output.arrays["class_scores"],
            [label.color for label in card.classes],
            self.mask,
            self.classes,
            self.tolerance,
            output.arrays["confidence"] if self.confidence else None,
            self.segments,
        )


def _segment(card: ModelCard, segment: masks.MaskSegment) -> dict[str, Any]:
    label = card.classes[segment.class_id]
    return {
        **label_row(label),
        "color": label.hex_color,
        "pixels": segment.pixels,
        "share": round(segment.share, DIGITS),
        "bbox": segment.bbox,
        "score": round(min(max(segment.score, 0.0), 1.0), DIGITS),
    }


def _run_lengths(painted: Painted, facts: DecodedFacts) -> dict[str, Any]:
    """Return the rest of a `RunLengths` document."""
    size = (facts.height, facts.width)
    found = painted.run_lengths.items()
    return {"masks": [{"class_id": class_id, "size": size, "counts": counts} for class_id, counts in found]}


def _polygons(card: ModelCard, painted: Painted) -> dict[str, Any]:
    """Return the rest of a `Polygons` document."""
    features = [
        {
            "type": "Feature",
            "properties": label_row(card.classes[class_id]),
            "geometry": {"type": "MultiPolygon", "coordinates": orjson.Fragment(coordinates)},
        }
        for class_id, coordinates in painted.polygons.items()
    ]
    return {"type": "FeatureCollection", "features": features}
