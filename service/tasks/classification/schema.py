"""Queries and responses of the endpoints about whole images."""

from typing import Annotated, Literal

from pydantic import Field

from service.tasks.shapes import (
    ClassLabel,
    FailedImage,
    ImageFacts,
    Lang,
    ModelName,
    Overlay,
    Png,
    Problem,
    ResultItem,
    Score,
    Shape,
    Timing,
    Webp,
)


class ClassifyQuery(Shape):
    """The query of `POST /v1/classify`; any other parameter is refused."""

    model: list[str] = Field(default=[], description="the model's name; repeat it to compare models")
    top_k: int | None = Field(default=None, ge=1, description="how many classes, at most the model's; 5 if not given")
    lang: Lang = None
    min_score: float = Field(default=0, ge=0, le=1, allow_inf_nan=False, description="leave out lower scores")


class EmbedQuery(Shape):
    """The query of `POST /v1/embed`; any other parameter is refused."""

    model: list[str] = Field(default=[], max_length=1, description="the model's name")
    encoding: Literal["float", "base64"] = Field(
        default="float", description="a list of numbers, or base64 of 32-bit floats, little-endian"
    )
    normalise: bool = Field(default=False, description="whether to scale each vector to length 1")


class ExplainQuery(Shape):
    """The query of `POST /v1/explain`; any other parameter is refused."""

    model: list[str] = Field(default=[], max_length=1, description="the model's name")
    classes: list[str] = Field(
        default=[], max_length=10, description="explain this class, by label or id; repeat it for more"
    )
    lang: Lang = None
    top_k: int = Field(default=1, ge=1, le=10, description="how many of the best classes, where none is named")
    overlay: Overlay = Field(default="png", description="the format of the heat maps over the picture; `true` is png")


class Prediction(ClassLabel):
    """A class and its score."""

    score: Score


class ClassifiedImage(ResultItem):
    """A picture's classes, best first; equal scores by class id."""

    image: ImageFacts
    predictions: list[Prediction]
    warnings: list[str]


class ClassifyResponse(Shape):
    """The answer to one picture or many by one model."""

    request_id: str
    model: ModelName
    results: list[ClassifiedImage | FailedImage]
    timing_ms: Timing


class Comparison(Shape):
    """One model's classes for a picture."""

    model: ModelName
    predictions: list[Prediction]


class FailedComparison(Shape):
    """A model that could not answer for a picture; the others did."""

    model: ModelName
    error: Problem


class ComparedImage(ResultItem):
    """A picture's classes by each model that was asked."""

    image: ImageFacts
    models: list[Comparison | FailedComparison]
    warnings: list[str]


class CompareResponse(Shape):
    """The answer where `model` was repeated: a block for each model in each result."""

    request_id: str
    models: list[ModelName]
    results: list[ComparedImage | FailedImage]
    timing_ms: Timing


class Embedding(Shape):
    """A picture's vector: numbers, or base64 of 32-bit floats, little-endian."""

    encoding: Literal["float", "base64"]
    dimensions: int = Field(ge=1)
    data: list[float] | str


class EmbeddedImage(ResultItem):
    """A picture's vector."""

    image: ImageFacts
    embedding: Embedding
    warnings: list[str]


class EmbedResponse(Shape):
    """The answer to one picture or many."""

    request_id: str
    model: ModelName
    results: list[EmbeddedImage | FailedImage]
    timing_ms: Timing


class ClassExplanation(ClassLabel):
    """What each place adds to a class: the class's logit is `bias` and the mean of `map`, rows from the top."""

    score: Score
    bias: float
    map: list[list[float]]
    overlay: Annotated[Png | Webp, Field(discriminator="format")] | None = None


class BlockAttention(Shape):
    """How one Split-Attention block weighed its splits: mean and deviation of their weights over the channels."""

    stage: int = Field(ge=1, le=4)
    block: int = Field(ge=1, description="its place in the stage")
    splits: list[float]
    spread: list[float]


class ExplainedImage(ResultItem):
    """What speaks for classes in a picture.

    `seen` is what the network saw of the upright picture, x, y, width, height in pixels; `map` lies over that.
    """

    image: ImageFacts
    seen: tuple[int, int, int, int]
    explanations: list[ClassExplanation]
    attention: list[BlockAttention]
    warnings: list[str]


class ExplainResponse(Shape):
    """The answer to one picture or many."""

    request_id: str
    model: ModelName
    results: list[ExplainedImage | FailedImage]
    timing_ms: Timing
