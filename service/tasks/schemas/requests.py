"""What a request may hold: its query, and its body where that is JSON."""

from typing import Annotated, Literal

from pydantic import Field

from service.models.labels import LANGUAGE
from service.tasks.schemas.shapes import Shape

Overlay = Literal["false", "true", "png", "webp"]


class ImageContent(Shape):
    """One picture of a JSON request."""

    content: str = Field(description="standard base64 (RFC 4648, section 4), or a data: URI of it")


class ImagesBody(Shape):
    """A JSON request."""

    images: list[ImageContent]


Lang = Annotated[
    str | None,
    Field(
        max_length=35,
        pattern=LANGUAGE,
        description="the language of the labels, before Accept-Language; the model's own where it has them not in it",
    ),
]


class ClassifyQuery(Shape):
    """The query of `POST /v1/classify`; any other parameter is refused."""

    model: list[str] = Field(default=[], description="the model's name; repeat it to compare models")
    top_k: int | None = Field(default=None, ge=1, description="how many classes, at most the model's; 5 if not given")
    lang: Lang = None
    min_score: float = Field(default=0, ge=0, le=1, allow_inf_nan=False, description="leave out lower scores")


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
