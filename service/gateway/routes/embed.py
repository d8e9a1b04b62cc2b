"""`POST /v1/embed`: pictures to vectors that lie near each other where the pictures are alike."""

import base64
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.gateway.backend.torchserve import Answer
from service.gateway.components import GatewayDep
from service.gateway.http.media_types import JSON
from service.gateway.routes.pictures import answered, negotiate, pictured
from service.tasks.decoded import Drawn, Facts
from service.tasks.frame import Array
from service.tasks.schemas import EmbedQuery

router = APIRouter(tags=["pictures"])


@router.post("/v1/embed", summary="Embed pictures")
async def embed(request: Request, query: Annotated[EmbedQuery, Query()], gateway: GatewayDep) -> Response:
    """Give each picture's features: what a classifier's last layer sees of it, for search and training."""
    (card,) = gateway.versions.choose(request, "classification", query.model, "embedding")
    negotiate(request, [JSON])
    async with answered(request, gateway, [card], question="embedding") as answers:

        def draw(_facts: Facts, answer: Answer, _drawn: Drawn) -> dict[str, Any]:
            return {"embedding": vector(answer.arrays["embedding"], query)}

        return answers.respond(await pictured(gateway, card, answers, draw))


def vector(features: Array, query: EmbedQuery) -> dict[str, Any]:
    """A `schemas.Embedding`; with `normalise` of length 1, unless it is nought."""
    length = float(np.linalg.norm(features)) if query.normalise else 1.0
    scaled = np.ascontiguousarray(features / np.float32(length or 1.0), "<f4")
    data = base64.b64encode(scaled.data).decode("ascii") if query.encoding == "base64" else scaled
    return {"encoding": query.encoding, "dimensions": scaled.size, "data": data}
