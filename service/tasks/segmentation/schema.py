"""Query and response of `POST /v1/segment`."""

from typing import Annotated, Literal

from pydantic import Field

from service.tasks.shapes import (
    ClassLabel,
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
    Sized,
    Timing,
    Webp,
)


class SegmentQuery(Shape):
    """The query of `POST /v1/segment`. Other parameters are rejected."""

    model: list[str] = Field(
        default=[], max_length=1, description="Name of the model, or `name@version`. Default: the task's default model."
    )
    mask: Literal["png", "rle", "polygons", "none"] = Field(
        default="png", description="Form of the mask; `none` leaves it out."
    )
    overlay: Overlay = Field(
        default="false",
        description="Format of the image with the classes' colours over it; `true` is `png`. A WebP has at most 16,383 "
        "pixels a side.",
    )
    quality: Literal["fast", "best"] = Field(
        default="fast",
        description="`fast` is one pass. `best` is the protocol of the published scores: many passes, at several sizes "
        "and mirrored. It takes about forty times the work, and at most 4 images a request.",
    )
    confidence: bool = Field(
        default=False, description="Add the probability of each pixel's class, as a greyscale PNG."
    )
    classes: list[str] = Field(
        default=[], description="Only this class, by label or id. Repeat it for more. Default: all classes."
    )
    lang: Lang = None
    tolerance: float = Field(
        default=0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Polygon simplification tolerance in pixels. A vertex is removed if the triangle that it forms "
        "with its neighbours has an area below tolerance². Default: 0, exact.",
    )


class ClassRuns(Shape):
    """The pixels of one class as COCO's compressed run lengths. `size` is height and width in pixels."""

    class_id: int
    size: tuple[int, int]
    counts: str


class RunLengths(Sized):
    """A mask for pycocotools, with an entry for each class."""

    format: Literal["rle"]
    masks: list[ClassRuns]


class MultiPolygon(Shape):
    """Polygons of rings of points x, y: first the outer ring, then its holes."""

    type: Literal["MultiPolygon"]
    coordinates: list[list[list[tuple[int, int]]]]


class Feature(Shape):
    """The area of one class."""

    type: Literal["Feature"]
    properties: ClassLabel
    geometry: MultiPolygon


class Polygons(Sized):
    """A mask as a GeoJSON FeatureCollection (RFC 7946), in pixels from the upper left corner of the upright image."""

    format: Literal["polygons"]
    type: Literal["FeatureCollection"]
    features: list[Feature]


class Segment(ClassLabel):
    """A class in the image. The largest area comes first.

    `share` is its share of all pixels. `bbox` is x, y, width, height in pixels of the upright image. `score` is the
    mean probability over the class's pixels, which is estimated from a part of them where the model has many classes.
    """

    color: HexColour
    pixels: int = Field(ge=1)
    share: Score
    bbox: tuple[int, int, int, int]
    score: Score


class SegmentedImage(ResultItem):
    """The classes of one image by area. The mask has the size of the upright upload."""

    image: ImageFacts
    mask: Annotated[Png | RunLengths | Polygons, Field(discriminator="format")] | None = None
    overlay: Annotated[Png | Webp, Field(discriminator="format")] | None = None
    confidence: Png | None = Field(
        default=None, description="Probability of each pixel's class as a grey level: 255 is 1. Only if requested."
    )
    segments: list[Segment]
    warnings: list[str]


class SegmentResponse(Shape):
    """The response for one or several images."""

    request_id: str
    model: ModelName
    results: list[SegmentedImage | FailedImage]
    timing_ms: Timing
