"""`POST /v1/classify`: pictures to labels."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.errors import ServiceError
from service.gateway.backend.torchserve import Answer
from service.gateway.components import GatewayDep
from service.gateway.http.languages import spoken
from service.gateway.http.media_types import JSON
from service.gateway.http.problems import invalid
from service.gateway.inference.inference import Result
from service.gateway.inference.registry import label_of, name_of
from service.gateway.routes.pictures import Answered, answered, failed, negotiate, told
from service.models.cards import ModelCard
from service.tasks.frame import Array
from service.tasks.schemas import ClassifyQuery

router = APIRouter(tags=["pictures"])

TOP_K = 5
DIGITS = 6


@router.post("/v1/classify", summary="Classify pictures")
async def classify(request: Request, query: Annotated[ClassifyQuery, Query()], gateway: GatewayDep) -> Response:
    """Say what is in each picture: the best labels of one model, or of several side by side."""
    cards = gateway.versions.choose(request, "classification", query.model)
    check_top_k(query.top_k, cards)
    negotiate(request, [JSON])
    async with answered(request, gateway, cards) as answers:
        answers.named = spoken(request, query.lang, cards)
        return answers.respond(document(answers.named, answers, query))


def check_top_k(top_k: int | None, cards: Sequence[ModelCard]) -> None:
    """Raise `InvalidParameter` where no model has that many classes."""
    if top_k is None:
        return
    classes = max(card.network.classes for card in cards)
    if top_k > classes:
        raise invalid("top_k", f"At most {classes}, the model's classes.", limit=classes, actual=top_k)


def document(cards: Sequence[ModelCard], answers: Answered, query: ClassifyQuery) -> dict[str, Any]:
    """A `ClassifyResponse`, or a `CompareResponse` for several models, without id and times."""
    results = enumerate(answers.results)
    if len(cards) == 1:
        (card,) = cards
        return {"model": name_of(card), "results": [_one(card, index, result, query) for index, result in results]}
    return {
        "models": [name_of(card) for card in cards],
        "results": [_several(cards, index, result, query) for index, result in results],
    }


def ranked(scores: Array) -> tuple[list[int], list[float]]:
    """Every class id, best first, and its score; sorted by the scores as told, so that equal ones come by id."""
    told = np.round(scores.astype(np.float64).clip(0, 1), DIGITS)
    best = np.argsort(-told, kind="stable")
    return best.tolist(), told[best].tolist()


def predictions(card: ModelCard, scores: Array, query: ClassifyQuery) -> list[dict[str, Any]]:
    """The best classes."""
    ids, told = ranked(scores)
    count = query.top_k or TOP_K
    return [
        {**label_of(card.classes[class_id]), "score": score}
        for class_id, score in zip(ids[:count], told[:count], strict=True)
        if score >= query.min_score
    ]


def _one(card: ModelCard, index: int, result: Result, query: ClassifyQuery) -> dict[str, Any]:
    if result.failure is not None:
        return failed(index, result, result.failure)
    (answer,) = result.answers
    return told(index, result, **_found(card, answer, query))


def _several(cards: Sequence[ModelCard], index: int, result: Result, query: ClassifyQuery) -> dict[str, Any]:
    pairs = zip(cards, result.answers, strict=False)  # no answers where the picture was not decoded
    blocks = [{"model": name_of(card), **_found(card, answer, query)} for card, answer in pairs]
    return told(index, result, models=blocks)


def _found(card: ModelCard, answer: Answer | ServiceError, query: ClassifyQuery) -> dict[str, Any]:
    if isinstance(answer, ServiceError):
        return {"error": answer.problem()}
    return {"predictions": predictions(card, answer.arrays["scores"], query)}
