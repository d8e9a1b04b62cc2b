"""The parts of requests and responses that all tasks share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.models.labels import LANGUAGE

Score = Annotated[float, Field(ge=0, le=1, description="0 to 1, rounded to six digits.")]
HexColour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$", description="Colour as `#rrggbb`.")]


class Shape(BaseModel):
    """A JSON object with these members and no others."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """A problem document (RFC 9457). Branch on `code`, which never changes."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Address of a page about the problem, relative to the service.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What happened this time.")
    code: str = Field(pattern=r"^[a-z0-9_]+$")
    request_id: str | None = Field(default=None, description="Absent inside a result: the response has it.")
    limit: int | None = Field(default=None, description="The bound that was broken.")
    actual: int | None = Field(default=None, description="The value that broke the bound.")
    accepted: list[str] | None = Field(default=None, description="The values that are accepted.")
    available: list[str] | None = Field(default=None, description="The served models or versions.")
    errors: list["ParameterError"] | None = Field(default=None, description="A row for each invalid parameter.")


class ParameterError(Shape):
    """An invalid parameter or member of the body."""

    parameter: str
    detail: str


class ModelName(Shape):
    """The model that answered."""

    name: str
    version: str
    task: str


class ImageFacts(Shape):
    """The decoded upload: upright width and height in pixels, file format, and the file's pixel mode."""

    width: int
    height: int
    format: str
    mode: str


class Timing(Shape):
    """Times in milliseconds. With several images, the slowest image's.

    `total` is the time from the request's first byte until the response is encoded.
    """

    total: float
    decode: float
    queue: float
    inference: float


class ClassLabel(Shape):
    """A class. `wnid` is its WordNet id, absent if the model's labels have none."""

    label: str
    class_id: int
    wnid: str | None = None


class ResultItem(Shape):
    """The result of one image."""

    index: int = Field(ge=0, description="Position of the image in the request, from 0.")
    filename: str | None = Field(description="File name in the form, without folders; null if there is none.")


class FailedImage(ResultItem):
    """The error of one of several images. The others have results."""

    error: Problem


class FailedComparison(Shape):
    """The error of one of several models for an image. The others have results."""

    model: ModelName
    error: Problem


class Sized(Shape):
    """A rendered mask or image, with its size in pixels."""

    width: int
    height: int


class Png(Sized):
    """A PNG in JSON. A mask is an indexed PNG: a pixel's value is its class id, and the palette is the legend."""

    format: Literal["png"]
    encoding: Literal["base64"]
    data: str


class Webp(Sized):
    """A WebP in JSON."""

    format: Literal["webp"]
    encoding: Literal["base64"]
    data: str


Overlay = Literal["false", "true", "png", "webp"]

Lang = Annotated[
    str | None,
    Field(
        max_length=35,
        pattern=LANGUAGE,
        description="Language of the labels, such as `de`. Overrides Accept-Language; falls back to the model's own "
        "language.",
    ),
]


class ImageContent(Shape):
    """One image of a JSON request."""

    content: str = Field(description="Standard base64 with padding (RFC 4648, section 4), or a data: URI with it.")


class ImagesBody(Shape):
    """A request in JSON."""

    images: list[ImageContent]
