"""What a request may hold: its query, and its body where that is JSON."""

from typing import Literal

from pydantic import Field

from service.schemas.shapes import Shape


class ImageContent(Shape):
    """One picture of a JSON request."""

    content: str = Field(description="standard base64 (RFC 4648, section 4), or a data: URI of it")


class ImagesBody(Shape):
    """A JSON request."""

    images: list[ImageContent]


class ClassifyQuery(Shape):
    """The query of `POST /v1/classify`; any other parameter is refused."""

    model: list[str] = Field(default=[], description="the model's name; repeat it to compare models")
    top_k: int | None = Field(default=None, ge=1, description="how many classes, at most the model's; 5 if not given")
    min_score: float = Field(default=0, ge=0, le=1, allow_inf_nan=False, description="leave out lower scores")


class SegmentQuery(Shape):
    """The query of `POST /v1/segment`; any other parameter is refused."""

    model: list[str] = Field(default=[], max_length=1, description="the model's name")
    mask: Literal["png", "rle", "polygons", "none"] = Field(default="png", description="the form of the mask")
    overlay: Literal["false", "true", "png", "webp"] = Field(
        default="false", description="the format of a blend of the mask over the picture; `true` is png"
    )
    classes: list[str] = Field(default=[], description="only this class, by label or id; repeat it for more")
    tolerance: float = Field(
        default=0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="pixels; of a polygon's points those go whose triangle with their neighbours is below its square",
    )
