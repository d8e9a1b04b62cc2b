"""`POST /v1/explain`: which places of a picture speak for a class, and how the network weighed its splits."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.gateway.backend.torchserve import Answer
from service.gateway.components import GatewayDep
from service.gateway.http.languages import spoken
from service.gateway.http.media_types import JSON
from service.gateway.inference.registry import class_ids, label_of
from service.gateway.routes.classify import DIGITS, check_top_k, ranked
from service.gateway.routes.pictures import answered, encoded, negotiate, pictured
from service.gateway.routes.segment_rendering import OVERLAYS, OverlayKind, check_webp
from service.imaging import heatmap, preprocess
from service.models.cards import ModelCard
from service.tasks.decoded import Drawn, Facts, Layer
from service.tasks.frame import Array
from service.tasks.schemas import ExplainQuery

router = APIRouter(tags=["pictures"])


@dataclass(frozen=True)
class Heat:
    """What to show: these classes, or else so many of the best; and the format of their overlays."""

    classes: Sequence[int]
    top_k: int
    overlay: OverlayKind | None

    def chosen(self, scores: Array) -> Sequence[int]:
        """The classes to show of a picture with these scores."""
        return self.classes or ranked(scores)[0][: self.top_k]


@router.post("/v1/explain", summary="Explain a classification")
async def explain(request: Request, query: Annotated[ExplainQuery, Query()], gateway: GatewayDep) -> Response:
    """Show what the network looks at: a heat map over the picture for each class, and its Split-Attention weights.

    `Accept: image/png`, or `image/webp` with `overlay=webp`, gets one picture's first heat map itself.
    """
    (card,) = gateway.versions.choose(request, "classification", query.model, "explanation")
    check_top_k(query.top_k, [card])
    wanted = Heat(class_ids(card, query.classes), query.top_k, OVERLAYS[query.overlay])
    offers = [JSON, *([f"image/{wanted.overlay}"] if wanted.overlay else [])]
    negotiate(request, offers)

    def media_type(pictures: int) -> str:
        return negotiate(request, offers if pictures == 1 else [JSON])

    async with answered(request, gateway, [card], media_type, "explanation") as answers:
        if (chosen := media_type(len(answers.results))) != JSON:
            first = replace(wanted, classes=wanted.classes[:1], top_k=1)
            drawn = await encoded(
                gateway, card, answers, 0, lambda _facts, _answer, drawn: drawn.files, partial(layers, card, first)
            )
            return Response(drawn[0], media_type=chosen, headers=answers.headers())
        (named,) = answers.named = spoken(request, query.lang, [card])
        members, over = partial(explained, named, wanted), partial(layers, card, wanted)
        return answers.respond(await pictured(gateway, card, answers, members, over))


def explained(card: ModelCard, wanted: Heat, facts: Facts, answer: Answer, drawn: Drawn) -> dict[str, Any]:
    """The members of a `schemas.ExplainedPicture` that are about the network; `drawn` is what was made of `layers`."""
    left, top, right, bottom = preprocess.window(card.input, facts.width, facts.height)
    arrays = answer.arrays
    scores = arrays["scores"].clip(0, 1).astype(float).round(DIGITS)
    rows: list[dict[str, Any]] = [
        {
            **label_of(card.classes[class_id]),
            "score": float(scores[class_id]),
            "bias": round(float(arrays["bias"][class_id]), DIGITS),
            "map": np.ascontiguousarray(arrays["maps"][class_id]),
        }
        for class_id in wanted.chosen(arrays["scores"])
    ]
    size = {"format": wanted.overlay, "encoding": "base64", "width": facts.width, "height": facts.height}
    for row, file in zip(rows, drawn.files, strict=False):
        row["overlay"] = {**size, "data": base64.b64encode(file).decode("ascii")}
    seen = (left, top, right - left, bottom - top)
    return {"seen": seen, "explanations": rows, "attention": attention(arrays)}


def layers(card: ModelCard, wanted: Heat, facts: Facts, answer: Answer) -> list[Layer]:
    """What is drawn over the upload: each class's map. Raises `ImageTooLarge` for a WebP that has no room for it."""
    if wanted.overlay is None:
        return []
    check_webp(wanted.overlay, facts)
    drawing = partial(
        heatmap.overlay, window=preprocess.window(card.input, facts.width, facts.height), kind=wanted.overlay.upper()
    )
    maps = answer.arrays["maps"]
    return [partial(drawing, values=maps[each]) for each in wanted.chosen(answer.arrays["scores"])]


def attention(arrays: dict[str, Array]) -> list[dict[str, Any]]:
    """A `schemas.BlockAttention` for each Split-Attention block, in the order in which the picture meets them."""
    if "stage" not in arrays:
        return []
    met: Counter[int] = Counter()
    splits, spreads = (arrays[name].astype(float).round(DIGITS).tolist() for name in ("splits", "spread"))
    rows = []
    for stage, split, spread in zip(arrays["stage"].tolist(), splits, spreads, strict=True):
        met[stage] += 1
        rows.append({"stage": stage, "block": met[stage], "splits": split, "spread": spread})
    return rows
