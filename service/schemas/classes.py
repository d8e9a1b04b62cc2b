"""The answers about whole pictures."""

from service.schemas.shapes import (
    ClassLabel,
    FailedPicture,
    ImageFacts,
    ModelName,
    Place,
    Problem,
    Score,
    Shape,
    Timing,
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
