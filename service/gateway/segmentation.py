"""`POST /v1/segment`: pictures to masks."""

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.cards import ModelCard
from service.gateway.answering import JSON, Answered, answered, failed, negotiate, told
from service.gateway.backend import Answer
from service.gateway.catalogue import name_of
from service.gateway.decoding import Facts
from service.gateway.gateway import Gateway, GatewayDep
from service.gateway.rendering import Rendering, in_json, render
from service.schemas import SegmentQuery

router = APIRouter(tags=["pictures"])

PNG = "image/png"


@router.post("/v1/segment", summary="Segment pictures")
async def segment(request: Request, query: Annotated[SegmentQuery, Query()], gateway: GatewayDep) -> Response:
    """Give each pixel of each picture its class. `Accept: image/png` gets one picture's mask, or overlay, itself."""
    (card,) = gateway.catalogue.choose("segmentation", query.model)
    wanted = _wanted(query)
    offers = [JSON, PNG] if wanted else [JSON]
    negotiate(request, offers)

    def media_type(pictures: int) -> str:
        return negotiate(request, offers if pictures == 1 else [JSON])

    async with answered(request, gateway, [card], media_type) as answers:
        if media_type(len(answers.results)) == PNG:
            return await _image(gateway, card, answers, wanted[-1])
        return await _document(gateway, card, answers, wanted)


def _wanted(query: SegmentQuery) -> list[str]:
    """What to draw; the last is what stands for the picture where only one can be sent."""
    return [name for name, wish in (("mask", query.mask == "png"), ("overlay", query.overlay)) if wish]


async def _image(gateway: Gateway, card: ModelCard, answers: Answered, name: str) -> Response:
    """The PNG of the only picture, which was answered."""
    rendering = await _render(gateway, card, answers, 0, [name])
    return Response(rendering.pngs[name], media_type=PNG, headers=answers.headers())


async def _document(gateway: Gateway, card: ModelCard, answers: Answered, wanted: Sequence[str]) -> Response:
    """A `schemas.SegmentResponse`."""
    places = range(len(answers.results))
    results = await asyncio.gather(*(_picture(gateway, card, answers, index, wanted) for index in places))
    return answers.respond({"model": name_of(card), "results": results})


async def _picture(
    gateway: Gateway, card: ModelCard, answers: Answered, index: int, wanted: Sequence[str]
) -> dict[str, Any]:
    result = answers.results[index]
    if result.failure is not None:
        return failed(index, result, result.failure)
    rendering = await _render(gateway, card, answers, index, wanted)
    return told(index, result, **await gateway.encoders.run(in_json, rendering))


async def _render(gateway: Gateway, card: ModelCard, answers: Answered, index: int, wanted: Sequence[str]) -> Rendering:
    """Draw an answered picture in a thread, and time it."""
    result = answers.results[index]
    facts, answer, content = cast(
        "tuple[Facts, Answer, bytes]", (result.facts, result.answers[0], result.upload.content)
    )
    started = time.perf_counter()
    rendering = await gateway.encoders.run(render, card, answer, facts, content, gateway.settings.image_limits, wanted)
    elapsed = time.perf_counter() - started
    gateway.metrics.stages.labels(card.name, "encode").observe(elapsed)
    answers.stages["encode"] = max(elapsed, answers.stages.get("encode", 0.0))
    return rendering
