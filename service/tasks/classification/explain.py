"""`POST /v1/explain`: which parts of an image speak for a class, and how the network weighed its splits."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np

from service.imaging import preprocess
from service.imaging.drawing import heatmap
from service.models.cards import ModelCard
from service.tasks.base import (
    DIGITS,
    DecodedFacts,
    Drawn,
    Endpoint,
    Layer,
    ModelOutput,
    Rendering,
    class_ids,
    label_row,
)
from service.tasks.classification import domain, examples
from service.tasks.classification.classify import check_top_k, ranked
from service.tasks.classification.schema import ExplainQuery, ExplainResponse
from service.tasks.frame import Array
from service.tasks.overlays import OVERLAYS, OverlayKind, check_webp


@dataclass(frozen=True)
class HeatMaps(Rendering):
    """Heat maps of these classes, or of the `top_k` best ones, with overlays in a format or without."""

    classes: Sequence[int]
    top_k: int
    overlay: OverlayKind | None
    operation: str = "explain"

    @property
    def media_types(self) -> list[str]:  # type: ignore[override]
        """Return the media type of the overlay, if there is one."""
        return [f"image/{self.overlay}"] if self.overlay else []

    def alone(self, _media_type: str) -> "HeatMaps":
        """Return the same for the first class only."""
        return replace(self, classes=self.classes[:1], top_k=1)

    def chosen(self, scores: Array) -> Sequence[int]:
        """Return the classes to explain for an image with these scores."""
        return self.classes or [class_id for class_id, _ in ranked(scores, self.top_k)]

    def file(self, _card: ModelCard, _facts: DecodedFacts, _output: ModelOutput, drawn: Drawn) -> bytes:
        """Return the first overlay."""
        return drawn.files[0]

    def layers(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput) -> list[Layer]:
        """Return the overlay of each class. Raises `ImageTooLarge` for a WebP larger than its format allows."""
        if self.overlay is None:
            return []
        check_webp(self.overlay, facts)
        window = preprocess.window(card.input, facts.width, facts.height)
        drawing = partial(heatmap.overlay, window=window, kind=self.overlay.upper())
        maps = output.arrays["maps"]
        return [Layer(partial(drawing, values=maps[each])) for each in self.chosen(output.arrays["scores"])]

    def members(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput, drawn: Drawn) -> dict[str, Any]:
        """Return the part of an `ExplainedImage` that is about the network."""
        left, top, right, bottom = preprocess.window(card.input, facts.width, facts.height)
        arrays = output.arrays
        scores = arrays["scores"].clip(0, 1).astype(float).round(DIGITS)
        rows: list[dict[str, Any]] = [
            {
                **label_row(card.classes[class_id]),
                "score": float(scores[class_id]),
                "bias": round(float(arrays["bias"][class_id]), DIGITS),
                "map": np.ascontiguousarray(arrays["maps"][class_id]),
            }
            for class_id in self.chosen(arrays["scores"])
        ]
        size = {"format": self.overlay, "encoding": "base64", "width": facts.width, "height": facts.height}
        for row, file in zip(rows, drawn.files, strict=False):
            row["overlay"] = {**size, "data": base64.b64encode(file).decode("ascii")}
        seen = (left, top, right - left, bottom - top)
        return {"seen": seen, "explanations": rows, "attention": attention(arrays), **domain.members(card, arrays)}


def plan(cards: Sequence[ModelCard], query: ExplainQuery) -> HeatMaps:
    """Return what the query asks for. Raises `InvalidParameter` for a class or `top_k` that the model does not have."""
    (card,) = cards
    check_top_k(query.top_k, cards)
    return HeatMaps(class_ids(card, query.classes), query.top_k, OVERLAYS[query.overlay])


def attention(arrays: dict[str, Array]) -> list[dict[str, Any]]:
    """Return a `BlockAttention` document for each Split-Attention block, in the order of the forward pass."""
    if "stage" not in arrays:
        return []
    blocks: Counter[int] = Counter()
    splits, spreads = (arrays[name].astype(float).round(DIGITS).tolist() for name in ("splits", "spread"))
    rows = []
    for stage, split, spread in zip(arrays["stage"].tolist(), splits, spreads, strict=True):
        blocks[stage] += 1
        rows.append({"stage": stage, "block": blocks[stage], "splits": split, "spread": spread})
    return rows


EXPLAIN: Final = Endpoint(
    path="/v1/explain",
    summary="Explain a classification",
    description="Return a heat map over the image for each class, and the network's Split-Attention weights.\n\n"
    "With `Accept: image/png`, or `image/webp` and `overlay=webp`, one image's first heat map is the response.",
    query=ExplainQuery,
    responses=(ExplainResponse,),
    examples=examples.explain,
    plan=plan,
    operation=lambda _query: "explain",
    image_types=("image/png", "image/webp"),
)
