"""Whether the arrays that a worker answered with are what the model's card and the question call for."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from service.models.cards import ModelCard, Task
from service.tasks.frame import Array
from service.tasks.operations import Question

Pixels = npt.NDArray[np.uint8]
Fits = Callable[[ModelCard, Pixels, dict[str, Array]], bool]

ATTENTION = {"splits", "spread", "stage"}


def _scores(card: ModelCard, _picture: Pixels, arrays: dict[str, Array]) -> bool:
    return set(arrays) == {"scores"} and _probabilities(arrays["scores"], card.network.classes)


def _mask(card: ModelCard, picture: Pixels, arrays: dict[str, Array]) -> bool:
    if set(arrays) != {"mask", "class_scores"}:
        return False
    mask, scores = arrays["mask"], arrays["class_scores"]
    whole = mask.dtype == np.uint8 and mask.shape == picture.shape[:2] and int(mask.max()) < card.network.classes
    return whole and _probabilities(scores, card.network.classes)


def _confidence(card: ModelCard, picture: Pixels, arrays: dict[str, Array]) -> bool:
    rest = dict(arrays)
    confidence = rest.pop("confidence", None)
    if confidence is None or confidence.dtype != np.uint8 or confidence.shape != picture.shape[:2]:
        return False
    return _mask(card, picture, rest)


def _embedding(_card: ModelCard, _picture: Pixels, arrays: dict[str, Array]) -> bool:
    return set(arrays) == {"embedding"} and _finite(arrays["embedding"], 1)


def _explanation(card: ModelCard, _picture: Pixels, arrays: dict[str, Array]) -> bool:
    if set(arrays) not in ({"scores", "maps", "bias"}, {"scores", "maps", "bias", *ATTENTION}):
        return False
    classes = card.network.classes
    maps = _finite(arrays["maps"], 3) and len(arrays["maps"]) == classes
    bias = _finite(arrays["bias"], 1) and len(arrays["bias"]) == classes
    attention = "stage" not in arrays or _attention(arrays)
    return maps and bias and attention and _probabilities(arrays["scores"], classes)


def _attention(arrays: dict[str, Array]) -> bool:
    splits, spread, stage = (arrays[name] for name in ("splits", "spread", "stage"))
    numbers = _finite(splits, 2) and _finite(spread, 2) and spread.shape == splits.shape
    return numbers and stage.dtype == np.uint8 and stage.shape == splits.shape[:1]


def _finite(array: Array, axes: int) -> bool:
    right = array.dtype == np.float32 and array.ndim == axes and array.size > 0
    return right and bool(np.isfinite(array).all())


def _probabilities(scores: Array, classes: int) -> bool:
    """Whether it is one finite probability a class; a NaN compares false."""
    right = scores.dtype == np.float32 and scores.shape == (classes,)
    return right and bool(((scores >= -1e-4) & (scores <= 1 + 1e-4)).all())


CHECKS: Final[dict[tuple[Task, Question], Fits]] = {
    ("classification", "answer"): _scores,
    ("classification", "embedding"): _embedding,
    ("classification", "explanation"): _explanation,
    ("segmentation", "answer"): _mask,
    ("segmentation", "confidence"): _confidence,
    ("segmentation", "best"): _confidence,
}
