"""`POST /v1/classify`: images to labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from service.models.cards import ModelCard
from service.tasks.base import DIGITS, DecodedFacts, Drawn, Endpoint, ModelOutput, Rendering, invalid, label_row
from service.tasks.classification import examples
from service.tasks.classification.schema import ClassifyQuery, ClassifyResponse, CompareResponse
from service.tasks.frame import Array

TOP_K: Final = 5


@dataclass(frozen=True)
class Ranking(Rendering):
    """The best classes of each image: how many, and with at least which score."""

    count: int
    min_score: float

    def members(self, card: ModelCard, _facts: DecodedFacts, output: ModelOutput, _drawn: Drawn) -> dict[str, Any]:
        """Return the predictions, best first."""
        ids, scores = ranked(output.arrays["scores"])
        rows = [
            {**label_row(card.classes[class_id]), "score": score}
            for class_id, score in zip(ids[: self.count], scores[: self.count], strict=True)
            if score >= self.min_score
        ]
        return {"predictions": rows}


def plan(cards: Sequence[ModelCard], query: ClassifyQuery) -> Ranking:
    """Return what the query asks for. Raises `InvalidParameter` where no model has `top_k` classes."""
    check_top_k(query.top_k, cards)
    return Ranking(query.top_k or TOP_K, query.min_score)


def check_top_k(top_k: int | None, cards: Sequence[ModelCard]) -> None:
    """Raise `InvalidParameter` where no model has that many classes."""
    if top_k is None:
        return
    classes = max(card.network.classes for card in cards)
    if top_k > classes:
        raise invalid("top_k", f"At most {classes}, the model's classes.", limit=classes, actual=top_k)


def ranked(scores: Array) -> tuple[list[int], list[float]]:
    """Return every class id, best first, and its score. Equal rounded scores come in the order of their ids."""
    rounded = np.round(scores.astype(np.float64).clip(0, 1), DIGITS)
    best = np.argsort(-rounded, kind="stable")
    return best.tolist(), rounded[best].tolist()


CLASSIFY: Final = Endpoint(
    path="/v1/classify",
    summary="Classify images",
    description="Return the best classes of each image, by one model or by several side by side.",
    query=ClassifyQuery,
    responses=(ClassifyResponse, CompareResponse),
    examples=examples.classify,
    plan=plan,
    compares_models=True,
    is_light=True,
)
