"""`POST /v1/classify`: images to labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from service.models.cards import ModelCard
from service.tasks.base import DIGITS, DecodedFacts, Drawn, Endpoint, ModelOutput, Rendering, invalid, label_row
from service.tasks.classification import domain, examples
from service.tasks.classification.schema import ClassifyQuery, ClassifyResponse, CompareResponse
from service.tasks.frame import Array

TOP_K: Final = 5
# More than two scores that are equal after rounding can differ, and more than the rounding error of float32.
ROUNDING: Final = 2 * 10**-DIGITS


@dataclass(frozen=True)
class Ranking(Rendering):
    """The best classes of each image: how many, with at least which score, and whether also where it is unknown."""

    count: int
    min_score: float
    hides_unknown: bool = False

    def members(self, card: ModelCard, _facts: DecodedFacts, output: ModelOutput, _drawn: Drawn) -> dict[str, Any]:
        """Return the predictions, best first, and what the calibration says of the image."""
        of_domain = domain.members(card, output.arrays)
        if self.hides_unknown and of_domain.get("unknown"):
            return {"predictions": [], **of_domain}
        rows = [
            {**label_row(card.classes[class_id]), "score": score}
            for class_id, score in ranked(output.arrays["scores"], self.count)
            if score >= self.min_score
        ]
        return {"predictions": rows, **of_domain}


def plan(cards: Sequence[ModelCard], query: ClassifyQuery) -> Ranking:
    """Return what the query asks for.

    Raises `InvalidParameter` where no model has `top_k` classes, and where a model without calibration is to hide.
    """
    check_top_k(query.top_k, cards)
    hides = query.unknown == "hide"
    if hides and (uncalibrated := [card.name for card in cards if card.calibration is None]):
        raise invalid("unknown", f"{', '.join(uncalibrated)} has no calibration, so it cannot tell. Leave it out.")
    return Ranking(query.top_k or TOP_K, query.min_score, hides)


def check_top_k(top_k: int | None, cards: Sequence[ModelCard]) -> None:
    """Raise `InvalidParameter` where no model has that many classes."""
    if top_k is None:
        return
    classes = max(card.network.classes for card in cards)
    if top_k > classes:
        raise invalid("top_k", f"At most {classes}, the model's classes.", limit=classes, actual=top_k)


def ranked(scores: Array, count: int) -> list[tuple[int, float]]:
    """Return the ids of the `count` best classes, best first, and their rounded scores.

    Equal rounded scores come in the order of their ids. `scores` are probabilities, float32 `(classes,)`.
    """
    ids = _candidates(scores, count)
    rounded = scores[ids].astype(np.float64).clip(0, 1).round(DIGITS)
    best = (-rounded).argsort(kind="stable")[:count]
    return list(zip(ids[best].tolist(), rounded[best].tolist(), strict=True))


def _candidates(scores: Array, count: int) -> Array:
    """Return, in ascending order, the ids of all classes that can be among the `count` best after rounding.

    To round and sort a thousand classes takes 32 us, to find five candidates first takes 7.
    """
    if count < len(scores):
        least = min(float(np.partition(scores, -count)[-count]), 1.0)
        if least > ROUNDING:  # scores below 0 count as 0
            return (scores >= least - ROUNDING).nonzero()[0]
    return np.arange(len(scores))


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
