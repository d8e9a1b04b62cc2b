"""The answers as types. Each method of the client says which one it returns."""

import base64
import struct
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from resnest_client.masks import (
    EncodedImage,
    InstancePolygons,
    InstanceRuns,
    Polygons,
    RunLengths,
    Shape,
)
from resnest_client.problems import Problem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from resnest_client.masks import BoolArray, ByteArray


class ModelName(Shape):
    """The model that answered."""

    name: str
    version: str
    task: str


class ImageFacts(Shape):
    """The decoded image: upright width and height in pixels, file format, and the file's pixel mode."""

    width: int
    height: int
    format: str
    mode: str


class Timing(Shape):
    """Times in milliseconds, as the service measured them."""

    total: float
    decode: float
    queue: float
    inference: float


class ClassLabel(Shape):
    """A class. `wnid` is its WordNet id, None if the labels have none."""

    label: str
    class_id: int
    wnid: str | None = None


class Prediction(ClassLabel):
    """A class with its score, 0 to 1."""

    score: float


class Answer(Shape):
    """What every answer about one image has."""

    request_id: str
    image: ImageFacts
    warnings: list[str]
    timing_ms: Timing


class Classification(Answer):
    """The classes of an image, best first.

    `unknown` is true if the image is probably of none of the model's classes, None if the model is not calibrated.
    """

    model: ModelName
    predictions: list[Prediction]
    unknown: bool | None = None


class ModelPredictions(Shape):
    """One model's classes, or the problem with which it failed."""

    model: ModelName
    predictions: tuple[Prediction, ...] = ()
    unknown: bool | None = None
    error: Problem | None = None


class Comparison(Answer):
    """The classes of an image by each of several models."""

    models: list[ModelPredictions]


class Segment(ClassLabel):
    """A class in an image: its colour, its area, its box (x, y, width, height in pixels) and its mean score."""

    color: str
    pixels: int
    share: float
    bbox: tuple[int, int, int, int]
    score: float


class Segmentation(Answer):
    """The class of each pixel of an image. Segments are sorted by area."""

    model: ModelName
    segments: list[Segment]
    mask: Annotated[EncodedImage | RunLengths | Polygons, Field(discriminator="format")] | None = None
    overlay: EncodedImage | None = None
    confidence: EncodedImage | None = None

    def class_ids(self) -> "ByteArray":
        """Return the class id of each pixel, uint8 `(height, width)`. Raise `ValueError` without a mask of pixels."""
        if isinstance(self.mask, EncodedImage | RunLengths):
            return self.mask.to_numpy()
        raise ValueError("there is no mask of pixels: ask for mask='png' or mask='rle'")


class Detection(ClassLabel):
    """An object: its score, its box (x, y, width, height in pixels), its colour, and the area of its mask."""

    score: float
    bbox: tuple[float, float, float, float]
    color: str
    category_id: int | None = None
    pixels: int | None = None
    mask: Annotated[InstanceRuns | InstancePolygons, Field(discriminator="format")] | None = None

    def to_numpy(self) -> "BoolArray":
        """Return the mask, bool `(height, width)`. Raise `ValueError` if there is none of pixels."""
        if isinstance(self.mask, InstanceRuns):
            return self.mask.to_numpy()
        raise ValueError("there is no mask of pixels: ask a model that has masks for mask='rle'")


class Detections(Answer):
    """The objects in an image, best first."""

    model: ModelName
    detections: list[Detection]
    overlay: EncodedImage | None = None


class Vector(Shape):
    """The vector of an image: base64 of 32-bit floats, little-endian."""

    encoding: Literal["base64"]
    dimensions: int
    data: str


class Embedding(Answer):
    """The features of an image. Similar images have similar vectors."""

    model: ModelName
    embedding: Vector

    def to_list(self) -> list[float]:
        """Return the vector as numbers."""
        return list(struct.unpack(f"<{self.embedding.dimensions}f", base64.b64decode(self.embedding.data)))

    def to_numpy(self) -> "npt.NDArray[np.float32]":
        """Return the vector, float32 `(dimensions,)`."""
        import numpy as np  # noqa: PLC0415 - the extra `numpy`

        return np.frombuffer(base64.b64decode(self.embedding.data), "<f4")


class ClassExplanation(Prediction):
    """The evidence for a class: its logit is `bias` plus the mean of `map`, a grid with the top row first."""

    bias: float
    map: list[list[float]]
    overlay: EncodedImage | None = None


class BlockAttention(Shape):
    """The weights of one Split-Attention block: mean and standard deviation of each split over the channels."""

    stage: int
    block: int
    splits: list[float]
    spread: list[float]


class Explanation(Answer):
    """The evidence for classes in an image. `seen` is the part that the model saw: x, y, width, height in pixels."""

    model: ModelName
    seen: tuple[int, int, int, int]
    explanations: list[ClassExplanation]
    attention: list[BlockAttention]
    unknown: bool | None = None


class ModelSummary(ModelName):
    """A served model."""

    summary: str
    licence: str
    source: str
    state: str
    default: bool
    share: float
    shadow: float
    classes: int
    knows: str = ""
    published: dict[str, Any]
    measured: dict[str, Any]


class ModelLabel(ClassLabel):
    """A class of a model, with its colour in masks and its id in COCO's annotations, where it has them."""

    color: str | None = None
    category_id: int | None = None


class Limits(Shape):
    """The limits on uploads, in bytes, images and pixels."""

    max_upload_bytes: int
    max_images: int
    max_pixels: int
    max_side: int
    min_side: int


class ModelDetail(ModelSummary):
    """A model with its labels and the limits on uploads. `identity` changes whenever its answers could change."""

    network: str
    identity: str
    calibration: dict[str, float] | None = None
    languages: list[str]
    labels: list[ModelLabel]
    limits: Limits
    formats: list[str]


class ModelList(Shape):
    """The served models."""

    models: list[ModelSummary]
