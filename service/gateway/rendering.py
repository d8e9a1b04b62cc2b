"""A model's mask as what was asked for: PNGs of the upright upload's size, and figures of the classes in it."""

import base64
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from service import images, masks
from service.cards import ModelCard
from service.gateway.backend import Answer
from service.gateway.catalogue import label_of
from service.gateway.decoding import Facts

DIGITS = 6
# The label of a class that the overlay leaves as it is. ADE20K and Pascal-Context have none: their class 0 is a thing.
BACKGROUND = "background"


@dataclass(frozen=True)
class Rendering:
    """What one thread makes of one mask: the PNGs that were asked for, by name, and the classes by area."""

    width: int
    height: int
    pngs: dict[str, bytes]
    segments: list[dict[str, Any]]


def render(
    card: ModelCard, answer: Answer, facts: Facts, upload: bytes, limits: images.Limits, wanted: Collection[str]
) -> Rendering:
    """Draw what is `wanted` of `mask` and `overlay`.

    For the overlay the upload is decoded once more, at its full size: kept from the first time, pictures would fill
    the memory while they wait for the model.
    """
    mask = masks.fit(answer.arrays["mask"], facts.width, facts.height)
    palette = [label.color for label in card.classes]
    pngs = {}
    if "mask" in wanted:
        pngs["mask"] = masks.png(mask, palette)
    if "overlay" in wanted:
        clear = [label.class_id for label in card.classes if label.label == BACKGROUND]
        pngs["overlay"] = masks.overlay(images.decode(upload, limits).image, mask, palette, clear=clear)
    figures = masks.figures(mask, answer.arrays["class_scores"])
    return Rendering(facts.width, facts.height, pngs, [_segment(card, figure) for figure in figures])


def in_json(rendering: Rendering) -> dict[str, Any]:
    """The members of a `schemas.SegmentedPicture` that were drawn, each a `schemas.Png`, and its segments."""
    drawn = {
        name: {
            "format": "png",
            "encoding": "base64",
            "width": rendering.width,
            "height": rendering.height,
            "data": base64.b64encode(png).decode("ascii"),
        }
        for name, png in rendering.pngs.items()
    }
    return {**drawn, "segments": rendering.segments}


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
