"""Query and response of the segmentation endpoint."""

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
    """The query of `POST /v1/segment`; any other parameter is refused."""

    model: list[str] = Field(default=[], max_length=1, description="the model's name")
    mask: Literal["png", "rle", "polygons", "none"] = Field(default="png", description="the form of the mask")
    overlay: Overlay = Field(
        default="false", description="the format of a blend of the mask over the picture; `true` is png"
    )
    quality: Literal["fast", "best"] = Field(
        default="fast",
        description="one pass, or many at several sizes, mirrored too, by the protocol of the published scores: some "
        "forty times the work",
    )
    confidence: bool = Field(default=False, description="whether to tell how sure the model is of each pixel")
    classes: list[str] = Field(default=[], description="only this class, by label or id; repeat it for more")
    lang: Lang = None
    tolerance: float = Field(
        default=0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="pixels; of a polygon's points those go whose triangle with their neighbours is below its square",
    )


class ClassRuns(Shape):
    """One class's pixels as COCO's compressed run lengths; `size` is height and width."""

    class_id: int
    size: tuple[int, int]
    counts: str


class RunLengths(Sized):
    """A mask that pycocotools reads, class by class."""

    format: Literal["rle"]
    masks: list[ClassRuns]


class MultiPolygon(Shape):
    """Polygons of rings of points x, y, the outer ring first and then its holes."""

    type: Literal["MultiPolygon"]
    coordinates: list[list[list[tuple[int, int]]]]


class Feature(Shape):
    """One class's area."""

    type: Literal["Feature"]
    properties: ClassLabel
    geometry: MultiPolygon


class Polygons(Sized):
    """A mask as a GeoJSON FeatureCollection (RFC 7946), in pixels from the upper left corner of the upright picture."""

    format: Literal["polygons"]
    type: Literal["FeatureCollection"]
    features: list[Feature]


class Segment(ClassLabel):
    """One class that is in the picture; the largest area comes first.

    `share` is of all pixels, `bbox` is x, y, width, height in pixels of the upright picture, `score` the mean
    probability over the class's pixels.
    """

    color: HexColour
    pixels: int = Field(ge=1)
    share: Score
    bbox: tuple[int, int, int, int]
    score: Score


class SegmentedImage(ResultItem):
    """A picture's classes by area. The mask has the upright upload's size; what is drawn is there if asked for."""

    image: ImageFacts
    mask: Annotated[Png | RunLengths | Polygons, Field(discriminator="format")] | None = None
    overlay: Annotated[Png | Webp, Field(discriminator="format")] | None = None
    confidence: Png | None = Field(default=None, description="grey levels: 255 is a probability of 1")
    segments: list[Segment]
    warnings: list[str]


class SegmentResponse(Shape):
    """The answer to one picture or many."""

    request_id: str
    model: ModelName
    results: list[SegmentedImage | FailedImage]
    timing_ms: Timing
