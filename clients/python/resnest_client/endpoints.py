"""The requests of each method. `Client` and `AsyncClient` send them, and have these functions as their methods."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

from resnest_client.results import (
    Answer,
    Classification,
    Comparison,
    Detections,
    Embedding,
    Explanation,
    ModelDetail,
    ModelList,
    ModelSummary,
    Segmentation,
)
from resnest_client.uploads import Image

Result = TypeVar("Result")
OneImage = TypeVar("OneImage", bound=Answer)
Value = str | int | float | bool | Sequence[str] | None
Overlay = Literal["false", "png", "webp"]


@dataclass(frozen=True)
class Call(Generic[Result]):
    """A request: its path, its query, its image, and the function that reads the answer."""

    path: str
    read: Callable[[bytes], Result]
    image: Image | None = None
    query: Mapping[str, str | list[str]] = field(default_factory=dict)


def classify(
    image: Image,
    *,
    model: str | None = None,
    top_k: int | None = None,
    min_score: float | None = None,
    unknown: Literal["keep", "hide"] | None = None,
    lang: str | None = None,
) -> Call[Classification]:
    """Return the best classes of an image: at most `top_k`, with at least `min_score`, in the language `lang`.

    With `unknown="hide"`, an image of none of the model's classes has no predictions. The model must be calibrated.
    """
    query = _query(model=model, top_k=top_k, min_score=min_score, unknown=unknown, lang=lang)
    return Call("v1/classify", _one(Classification), image, query)


def compare(
    image: Image,
    models: Sequence[str],
    *,
    top_k: int | None = None,
    min_score: float | None = None,
    unknown: Literal["keep", "hide"] | None = None,
    lang: str | None = None,
) -> Call[Comparison]:
    """Return the best classes of an image by each of two or more models."""
    if isinstance(models, str) or len(set(models)) < 2:
        raise ValueError("a comparison needs two models or more")
    query = _query(top_k=top_k, min_score=min_score, unknown=unknown, lang=lang)
    return Call("v1/classify", _one(Comparison), image, {**query, "model": list(models)})


def segment(  # noqa: PLR0913 - a parameter for each of the endpoint
    image: Image,
    *,
    model: str | None = None,
    mask: Literal["png", "rle", "polygons", "none"] | None = None,
    overlay: Overlay | None = None,
    quality: Literal["fast", "best"] | None = None,
    confidence: bool | None = None,
    classes: Sequence[str] = (),
    lang: str | None = None,
    tolerance: float | None = None,
) -> Call[Segmentation]:
    """Return the class of each pixel: the mask, and area, box and score of each class.

    `classes` are the only ones to return, by label or id. `tolerance` simplifies polygons, in pixels.
    """
    query = _query(
        model=model,
        mask=mask,
        overlay=overlay,
        quality=quality,
        confidence=confidence,
        classes=classes,
        lang=lang,
        tolerance=tolerance,
    )
    return Call("v1/segment", _one(Segmentation), image, query)


def detect(  # noqa: PLR0913 - a parameter for each of the endpoint
    image: Image,
    *,
    model: str | None = None,
    min_score: float | None = None,
    max_detections: int | None = None,
    classes: Sequence[str] = (),
    mask: Literal["none", "rle", "polygons"] | None = None,
    tolerance: float | None = None,
    overlay: Overlay | None = None,
    lang: str | None = None,
) -> Call[Detections]:
    """Return the objects in an image with at least `min_score`: boxes, scores, and masks where the model has them."""
    query = _query(
        model=model,
        min_score=min_score,
        max_detections=max_detections,
        classes=classes,
        mask=mask,
        tolerance=tolerance,
        overlay=overlay,
        lang=lang,
    )
    return Call("v1/detect", _one(Detections), image, query)


def embed(image: Image, *, model: str | None = None, normalise: bool | None = None) -> Call[Embedding]:
    """Return the features of an image. `normalise` scales the vector to length 1."""
    query = _query(model=model, normalise=normalise, encoding="base64")
    return Call("v1/embed", _one(Embedding), image, query)


def explain(
    image: Image,
    *,
    model: str | None = None,
    classes: Sequence[str] = (),
    top_k: int | None = None,
    overlay: Overlay | None = None,
    lang: str | None = None,
) -> Call[Explanation]:
    """Return which parts of an image speak for `classes`, or for the `top_k` best ones."""
    query = _query(model=model, classes=classes, top_k=top_k, overlay=overlay, lang=lang)
    return Call("v1/explain", _one(Explanation), image, query)


def models() -> Call[list[ModelSummary]]:
    """Return the served models."""
    return Call("v1/models", lambda content: ModelList.model_validate_json(content).models)


def model(name: str) -> Call[ModelDetail]:
    """Return a model with its labels and the limits on uploads. `name` may have a version: `name@1.0`."""
    return Call(f"v1/models/{quote(name, safe='@')}", ModelDetail.model_validate_json)


def _one(shape: type[OneImage]) -> Callable[[bytes], OneImage]:
    """Return a function that reads the answer about one image. A failed one is no answer but a problem."""

    def read(content: bytes) -> OneImage:
        document = json.loads(content)
        (result,) = document.pop("results")
        return shape.model_validate(document | result)

    return read


def _query(*, model: str | None = None, **values: Value) -> dict[str, str | list[str]]:
    """Return the query of a call to one model. Raise `TypeError` if `model` is no name: a list has another answer."""
    if not isinstance(model, str | None):
        raise TypeError("`model` is the name of one model. compare(image, models) classifies with several")
    values = {"model": model, **values}
    given = {name: value for name, value in values.items() if value is not None and value != ()}
    return {name: _written(value) for name, value in given.items()}


def _written(value: Value) -> str | list[str]:
    if isinstance(value, bool):
        return str(value).lower()
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
