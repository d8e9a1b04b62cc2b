"""Queries and responses of the endpoints about whole images."""

from typing import Annotated, Literal

from pydantic import Field

from service.tasks.shapes import (
    ClassLabel,
    FailedComparison,
    FailedImage,
    ImageFacts,
    Lang,
    ModelName,
    Overlay,
    Png,
    ResultItem,
    Score,
    Shape,
    Timing,
    Webp,
)


class ClassifyQuery(Shape):
    """The query of `POST /v1/classify`. Other parameters are rejected."""

    model: list[str] = Field(
        default=[],
        description="Name of the model, or `name@version`. Repeat it to compare models. Default: the task's default "
        "model.",
    )
    top_k: int | None = Field(
        default=None, ge=1, description="Number of classes, at most the model's number of classes. Default: 5."
    )
    lang: Lang = None
    min_score: float = Field(
        default=0, ge=0, le=1, allow_inf_nan=False, description="Leave out classes with a lower score."
    )
    unknown: Literal["keep", "hide"] = Field(
        default="keep",
        description="What to do with an image of none of the model's classes, which has `unknown: true`: `keep` the "
        "best classes all the same, or `hide` them. Only calibrated models take `hide`.",
    )


Unknown = Annotated[
    bool | None,
    Field(
        description="Whether the image is probably of none of the model's classes, and its predictions are worth "
        "nothing. Absent for a model without calibration."
    ),
]


class EmbedQuery(Shape):
    """The query of `POST /v1/embed`. Other parameters are rejected."""

    model: list[str] = Field(
        default=[], max_length=1, description="Name of the model, or `name@version`. Default: the task's default model."
    )
    encoding: Literal["float", "base64"] = Field(
        default="float", description="A list of numbers, or base64 of 32-bit floats, little-endian."
    )
    normalise: bool = Field(default=False, description="Scale each vector to length 1.")


class ExplainQuery(Shape):
    """The query of `POST /v1/explain`. Other parameters are rejected."""

    model: list[str] = Field(
        default=[], max_length=1, description="Name of the model, or `name@version`. Default: the task's default model."
    )
    classes: list[str] = Field(
        default=[],
        max_length=10,
        description="Explain this class, by label or id. Repeat it for up to 10. Default: the `top_k` best classes.",
    )
    lang: Lang = None
    top_k: int = Field(
        default=1, ge=1, le=10, description="Number of best classes to explain, if `classes` names none."
    )
    overlay: Overlay = Field(
        default="png",
        description="Format of the heat map over the image; `true` is `png`. A WebP has at most 16,383 pixels a side.",
    )


class Prediction(ClassLabel):
    """A class and its score."""

    score: Score


class ClassifiedImage(ResultItem):
    """The classes of one image, best first. Equal scores are sorted by class id."""

    image: ImageFacts
    predictions: list[Prediction]
    unknown: Unknown = None
    warnings: list[str]


class ClassifyResponse(Shape):
    """The response for one or several images and one model."""

    request_id: str
    model: ModelName
    results: list[ClassifiedImage | FailedImage]
    timing_ms: Timing


class Comparison(Shape):
    """One model's classes for an image."""

    model: ModelName
    predictions: list[Prediction]
    unknown: Unknown = None


class ComparedImage(ResultItem):
    """The classes of one image by each model."""

    image: ImageFacts
    models: list[Comparison | FailedComparison]
    warnings: list[str]


class CompareResponse(Shape):
    """The response if `model` was repeated: each result has a block for each model."""

    request_id: str
    models: list[ModelName]
    results: list[ComparedImage | FailedImage]
    timing_ms: Timing


class Embedding(Shape):
    """The vector of an image: numbers, or base64 of 32-bit floats, little-endian."""

    encoding: Literal["float", "base64"]
    dimensions: int = Field(ge=1)
    data: list[float] | str


class EmbeddedImage(ResultItem):
    """The vector of one image."""

    image: ImageFacts
    embedding: Embedding
    warnings: list[str]


class EmbedResponse(Shape):
    """The response for one or several images."""

    request_id: str
    model: ModelName
    results: list[EmbeddedImage | FailedImage]
    timing_ms: Timing


class ClassExplanation(ClassLabel):
    """The evidence for a class: its logit is `bias` plus the mean of `map`, a grid with the top row first."""

    score: Score
    bias: float
    map: list[list[float]]
    overlay: Annotated[Png | Webp, Field(discriminator="format")] | None = None


class BlockAttention(Shape):
    """The weights of one Split-Attention block: mean (`splits`) and standard deviation (`spread`) over the channels."""

    stage: int = Field(ge=1, le=4)
    block: int = Field(ge=1, description="Position in the stage, from 1.")
    splits: list[float]
    spread: list[float]


class ExplainedImage(ResultItem):
    """The evidence for classes in one image.

    `seen` is the part of the upright image that the network saw and that `map` covers: x, y, width, height in pixels.
    """

    image: ImageFacts
    seen: tuple[int, int, int, int]
    explanations: list[ClassExplanation]
    attention: list[BlockAttention]
    unknown: Unknown = None
    warnings: list[str]


class ExplainResponse(Shape):
    """The response for one or several images."""

    request_id: str
    model: ModelName
    results: list[ExplainedImage | FailedImage]
    timing_ms: Timing
