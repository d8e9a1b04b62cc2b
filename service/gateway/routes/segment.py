"""`POST /v1/segment`: pictures to masks."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.errors import TooManyImages
from service.gateway.backend.torchserve import Answer
from service.gateway.components import GatewayDep
from service.gateway.http.languages import spoken
from service.gateway.http.media_types import JSON
from service.gateway.routes.pictures import answered, encoded, negotiate, pictured
from service.gateway.routes.segment_rendering import asked, in_json, layers, planned, render
from service.tasks.decoded import Drawn, Facts
from service.tasks.operations import BEST_PICTURES, OF_QUALITY
from service.tasks.schemas import SegmentQuery

router = APIRouter(tags=["pictures"])


@router.post("/v1/segment", summary="Segment pictures")
async def segment(request: Request, query: Annotated[SegmentQuery, Query()], gateway: GatewayDep) -> Response:
    """Give each pixel of each picture its class.

    `Accept: image/png`, or `image/webp` with `overlay=webp`, gets one picture's mask, or overlay, itself.
    """
    (card,) = gateway.versions.choose(request, "segmentation", query.model, OF_QUALITY[query.quality])
    drawing = asked(card, query)
    offers = [JSON, *drawing.media_types]
    negotiate(request, offers)

    def media_type(pictures: int) -> str:
        if query.quality == "best" and pictures > BEST_PICTURES:
            detail = f"With quality=best a request has at most {BEST_PICTURES} pictures."
            raise TooManyImages(detail, limit=BEST_PICTURES, actual=pictures)
        return negotiate(request, offers if pictures == 1 else [JSON])

    async with answered(request, gateway, [card], media_type, drawing.question) as answers:
        (named,) = answers.named = spoken(request, query.lang, [card])
        over = partial(layers, card, drawing)
        if (chosen := media_type(len(answers.results))) != JSON:
            draw = partial(render, named, drawing.alone)
            plan = None if drawing.overlay else partial(planned, card, drawing.alone)  # of an overlay nothing is left
            (content,) = (await encoded(gateway, card, answers, 0, draw, over, plan)).files.values()
            return Response(content, media_type=chosen, headers=answers.headers())

        def members(facts: Facts, answer: Answer, drawn: Drawn) -> dict[str, Any]:
            return in_json(render(named, drawing, facts, answer, drawn), drawing)

        return answers.respond(await pictured(gateway, card, answers, members, over, partial(planned, card, drawing)))
