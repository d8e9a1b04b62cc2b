"""The answers about whole pictures."""

from typing import Annotated, Literal

from pydantic import Field

from service.tasks.schemas.shapes import (
    ClassLabel,
    FailedPicture,
    ImageFacts,
    ModelName,
    Place,
    Png,
    Problem,
    Score,
    Shape,
    Timing,
    Webp,
)


class Prediction(ClassLabel):
    """A class and its score."""

    score: Score


class ClassifiedPicture(Place):
    """A picture's classes, best first; equal scores by class id."""

    image: ImageFacts
    predictions: list[Prediction]
    warnings: list[str]


class ClassifyResponse(Shape):
    """The answer to one picture or many by one model."""

    request_id: str
    model: ModelName
    results: list[ClassifiedPicture | FailedPicture]
    timing_ms: Timing


class Comparison(Shape):
    """One model's classes for a picture."""

    model: ModelName
    predictions: list[Prediction]


class FailedComparison(Shape):
    """A model that could not answer for a picture; the others did."""

    model: ModelName
    error: Problem


class ComparedPicture(Place):
    """A picture's classes by each model that was asked."""

    image: ImageFacts
    models: list[Comparison | FailedComparison]
    warnings: list[str]


class CompareResponse(Shape):
    """The answer where `model` was repeated: a block for each model in each result."""

    request_id: str
    models: list[ModelName]
    results: list[ComparedPicture | FailedPicture]
    timing_ms: Timing


class Embedding(Shape):
    """A picture's vector: numbers, or base64 of 32-bit floats, little-endian."""

    encoding: Literal["float", "base64"]
    dimensions: int = Field(ge=1)
    data: list[float] | str


class EmbeddedPicture(Place):
    """A picture's vector."""

    image: ImageFacts
    embedding: Embedding
    warnings: list[str]


class EmbedResponse(Shape):
    """The answer to one picture or many."""

    request_id: str
    model: ModelName
    results: list[EmbeddedPicture | FailedPicture]
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


class ExplainedPicture(Place):
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
    results: list[ExplainedPicture | FailedPicture]
    timing_ms: Timing
