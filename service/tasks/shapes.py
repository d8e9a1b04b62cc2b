"""Parts of requests and responses that several tasks share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.models.labels import LANGUAGE

Score = Annotated[float, Field(ge=0, le=1, description="0 to 1, six digits")]
HexColour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class Shape(BaseModel):
    """A JSON object with these members and no others."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """An RFC 9457 problem document; `code` is the stable word to branch on."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="a page of this service about the problem, relative to it")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="what happened this time")
    code: str = Field(pattern=r"^[a-z0-9_]+$")
    request_id: str | None = Field(default=None, description="absent inside a result, whose response carries it")
    limit: int | None = Field(default=None, description="the bound that was broken")
    actual: int | None = Field(default=None, description="the value that broke it")
    accepted: list[str] | None = Field(default=None, description="what would be accepted")
    available: list[str] | None = Field(default=None, description="the models that are served for the task")
    errors: list["ParameterError"] | None = Field(default=None, description="a row for each wrong parameter")


class ParameterError(Shape):
    """One parameter or member of the body that is wrong."""

    parameter: str
    detail: str


class ModelName(Shape):
    """The model that answered."""

    name: str
    version: str
    task: str


class ImageFacts(Shape):
    """The upload as it was understood: its upright size, file format and own pixel mode."""

    width: int
    height: int
    format: str
    mode: str


class Timing(Shape):
    """Milliseconds; of several pictures the slowest one's. `total` is from the first byte to the encoded answer."""

    total: float
    decode: float
    queue: float
    inference: float


class ClassLabel(Shape):
    """A class; `wnid` where the model's labels carry WordNet ids."""

    label: str
    class_id: int
    wnid: str | None = None


class ResultItem(Shape):
    """A picture's place in a request."""

    index: int = Field(ge=0, description="the picture's place in the request")
    filename: str | None = Field(description="as the form named it, without folders")


class FailedImage(ResultItem):
    """A picture of several that could not be answered; its neighbours are."""

    error: Problem


class Sized(Shape):
    """Something drawn, with its size in pixels."""

    width: int
    height: int


class Png(Sized):
    """A PNG inside JSON. A mask is indexed: a pixel is its class id and the palette is the legend."""

    format: Literal["png"]
    encoding: Literal["base64"]
    data: str


class Webp(Sized):
    """A WebP inside JSON."""

    format: Literal["webp"]
    encoding: Literal["base64"]
    data: str


Overlay = Literal["false", "true", "png", "webp"]

Lang = Annotated[
    str | None,
    Field(
        max_length=35,
        pattern=LANGUAGE,
        description="the language of the labels, before Accept-Language; the model's own where it has them not in it",
    ),
]


class ImageContent(Shape):
    """One picture of a JSON request."""

    content: str = Field(description="standard base64 (RFC 4648, section 4), or a data: URI of it")


class ImagesBody(Shape):
    """A JSON request."""

    images: list[ImageContent]
