"""Query and response of `POST /v1/detect`."""

from typing import Annotated, Literal

from pydantic import Field

from service.tasks.shapes import (
    ClassLabel,
    FailedComparison,
    FailedImage,
    HexColour,
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

Coordinates = list[list[list[tuple[int, int]]]]


class DetectQuery(Shape):
    """The query of `POST /v1/detect`. Other parameters are rejected."""

    model: list[str] = Field(
        default=[],
        description="Name of a model, or `name@version`. Repeat it to compare models on the same images. Default: the "
        "task's default model.",
    )
    min_score: float = Field(
        default=0.5, ge=0, le=1, allow_inf_nan=False, description="Only detections with at least this score."
    )
    max_detections: int = Field(
        default=100, ge=1, le=100, description="Only so many detections of each image, those with the highest scores."
    )
    classes: list[str] = Field(
        default=[], description="Only this class, by label or id. Repeat it for more. Default: all classes."
    )
    mask: Literal["none", "rle", "polygons"] | None = Field(
        default=None,
        description="Form of the masks; `none` leaves them out. Default: `rle` where the model has masks.",
    )
    tolerance: float = Field(
        default=0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Polygon simplification tolerance in pixels. A vertex is removed if the triangle that it forms "
        "with its neighbours has an area below tolerance². Default: 0, exact.",
    )
    overlay: Overlay = Field(
        default="false",
        description="Format of the image with boxes, labels and masks over it; `true` is `png`. A WebP has at most "
        "16,383 pixels a side.",
    )
    lang: Lang = None


class InstanceRuns(Shape):
    """The pixels of one detection as COCO's compressed run lengths. `size` is height and width in pixels."""

    format: Literal["rle"]
    size: tuple[int, int]
    counts: str


class InstancePolygons(Shape):
    """The area of one detection as a GeoJSON MultiPolygon (RFC 7946), in pixels from the upper left corner.

    A polygon has closed rings of points x, y: first the outer ring, then its holes.
    """

    format: Literal["polygons"]
    type: Literal["MultiPolygon"]
    coordinates: Coordinates


class Detection(ClassLabel):
    """An object in the image. The highest score comes first, and of equal scores the lowest class id.

    `bbox` is x, y, width, height in pixels of the upright image. `category_id` is the id of COCO's annotations, absent
    if the model's labels have none. `color` is that of the detection in the overlay: of its class for the best one of
    the class, and another shade for each further one. `pixels` is the area of the mask.
    """

    category_id: int | None = None
    score: Score
    bbox: tuple[float, float, float, float]
    color: HexColour
    pixels: int | None = Field(default=None, ge=0)
    mask: Annotated[InstanceRuns | InstancePolygons, Field(discriminator="format")] | None = None


class DetectedImage(ResultItem):
    """The detections in one image, which may be none."""

    image: ImageFacts
    detections: list[Detection]
    overlay: Annotated[Png | Webp, Field(discriminator="format")] | None = None
    warnings: list[str]


class DetectResponse(Shape):
    """The response for one or several images."""

    request_id: str
    model: ModelName
    results: list[DetectedImage | FailedImage]
    timing_ms: Timing


class ModelDetections(Shape):
    """The detections of one of several models."""

    model: ModelName
    detections: list[Detection]


class ComparedDetections(ResultItem):
    """The detections of several models in one image."""

    image: ImageFacts
    models: list[ModelDetections | FailedComparison]
    warnings: list[str]


class CompareDetectionsResponse(Shape):
    """The response of several models, in the order of the query."""

    request_id: str
    models: list[ModelName]
    results: list[ComparedDetections | FailedImage]
    timing_ms: Timing
