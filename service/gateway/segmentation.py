"""`POST /v1/segment`: pictures to masks."""

import asyncio
import time
from dataclasses import replace
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.cards import ModelCard
from service.errors import ServiceError
from service.gateway.answering import JSON, Answered, answered, failed, negotiate, told
from service.gateway.backend import Answer
from service.gateway.catalogue import name_of
from service.gateway.decoding import Facts
from service.gateway.gateway import Gateway, GatewayDep
from service.gateway.rendering import Drawing, Rendering, asked, in_json, render
from service.schemas import SegmentQuery

router = APIRouter(tags=["pictures"])


@router.post("/v1/segment", summary="Segment pictures")
async def segment(request: Request, query: Annotated[SegmentQuery, Query()], gateway: GatewayDep) -> Response:
    """Give each pixel of each picture its class.

    `Accept: image/png`, or `image/webp` with `overlay=webp`, gets one picture's mask, or overlay, itself.
    """
    (card,) = gateway.catalogue.choose("segmentation", query.model)
    drawing = asked(card, query)
    offers = [JSON, *drawing.pictures]
    negotiate(request, offers)

    def media_type(pictures: int) -> str:
        return negotiate(request, offers if pictures == 1 else [JSON])

    async with answered(request, gateway, [card], media_type) as answers:
        if (chosen := media_type(len(answers.results))) != JSON:
            return await _image(gateway, card, answers, drawing, chosen)
        return await _document(gateway, card, answers, drawing)


async def _image(gateway: Gateway, card: ModelCard, answers: Answered, drawing: Drawing, media_type: str) -> Response:
    """The overlay or else the mask of the only picture, which was answered."""
    alone = replace(drawing, mask=None) if drawing.overlay is not None else drawing
    (content,) = (await _render(gateway, card, answers, 0, alone)).files.values()
    return Response(content, media_type=media_type, headers=answers.headers())


async def _document(gateway: Gateway, card: ModelCard, answers: Answered, drawing: Drawing) -> Response:
    """A `schemas.SegmentResponse`."""
    places = range(len(answers.results))
    results = await asyncio.gather(*(_picture(gateway, card, answers, index, drawing) for index in places))
    return answers.respond({"model": name_of(card), "results": results})


async def _picture(
    gateway: Gateway, card: ModelCard, answers: Answered, index: int, drawing: Drawing
) -> dict[str, Any]:
    result = answers.results[index]
    if result.failure is not None:
        return failed(index, result, result.failure)
    try:
        rendering = await _render(gateway, card, answers, index, drawing)
    except ServiceError as error:
        if len(answers.results) == 1:
            raise
        return failed(index, result, error)
    return told(index, result, **await gateway.encoders.run(in_json, rendering, drawing))


async def _render(gateway: Gateway, card: ModelCard, answers: Answered, index: int, drawing: Drawing) -> Rendering:
    """Draw an answered picture in a thread, and time it. Raises `ServiceError`."""
    result = answers.results[index]
    facts, answer, content = cast(
        "tuple[Facts, Answer, bytes]", (result.facts, result.answers[0], result.upload.content)
    )
    started = time.perf_counter()
    limits = gateway.settings.image_limits
    rendering = await gateway.encoders.run(render, card, answer, facts, content, limits, drawing)
    elapsed = time.perf_counter() - started
    gateway.metrics.stages.labels(card.name, "encode").observe(elapsed)
    answers.stages["encode"] = max(elapsed, answers.stages.get("encode", 0.0))
    return rendering
