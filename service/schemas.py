"""The wire shapes: what a request may hold and what an answer does, for OpenAPI, its examples and the tests.

Answers are encoded from plain dicts; the tests hold them against these classes.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.cards import Task

Score = Annotated[float, Field(ge=0, le=1, description="0 to 1, six digits")]
HexColour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class _Shape(BaseModel):
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


class ParameterError(_Shape):
    """One parameter or member of the body that is wrong."""

    parameter: str
    detail: str


class ImageContent(_Shape):
    """One picture of a JSON request."""

    content: str = Field(description="standard base64 (RFC 4648, section 4), or a data: URI of it")


class ImagesBody(_Shape):
    """A JSON request."""

    images: list[ImageContent]


class ClassifyQuery(_Shape):
    """The query of `POST /v1/classify`; any other parameter is refused."""

    model: list[str] = Field(default=[], description="the model's name; repeat it to compare models")
    top_k: int | None = Field(default=None, ge=1, description="how many classes, at most the model's; 5 if not given")
    min_score: float = Field(default=0, ge=0, le=1, allow_inf_nan=False, description="leave out lower scores")


class SegmentQuery(_Shape):
    """The query of `POST /v1/segment`; any other parameter is refused."""

    model: list[str] = Field(default=[], max_length=1, description="the model's name")
    mask: Literal["png", "none"] = Field(default="png", description="the form of the mask")
    overlay: bool = Field(default=False, description="whether to blend the mask over the picture too")


class ModelName(_Shape):
    """The model that answered."""

    name: str
    version: str
    task: Task


class ImageFacts(_Shape):
    """The upload as it was understood: its upright size, file format and own pixel mode."""

    width: int
    height: int
    format: str
    mode: str


class Timing(_Shape):
    """Milliseconds; of several pictures the slowest one's. `total` is from the first byte to the encoded answer."""

    total: float
    decode: float
    queue: float
    inference: float


class Prediction(_Shape):
    """A class and its score; `wnid` where the model's labels carry WordNet ids."""

    label: str
    class_id: int
    wnid: str | None = None
    score: Score


class _Place(_Shape):
    index: int = Field(ge=0, description="the picture's place in the request")
    filename: str | None = Field(description="as the form named it, without folders")


class FailedPicture(_Place):
    """A picture of several that could not be answered; its neighbours are."""

    error: Problem


class ClassifiedPicture(_Place):
    """A picture's classes, best first; equal scores by class id."""

    image: ImageFacts
    predictions: list[Prediction]
    warnings: list[str]


class ClassifyResponse(_Shape):
    """The answer to one picture or many by one model."""

    request_id: str
    model: ModelName
    results: list[ClassifiedPicture | FailedPicture]
    timing_ms: Timing


class Comparison(_Shape):
    """One model's classes for a picture."""

    model: ModelName
    predictions: list[Prediction]


class FailedComparison(_Shape):
    """A model that could not answer for a picture; the others did."""

    model: ModelName
    error: Problem


class ComparedPicture(_Place):
    """A picture's classes by each model that was asked."""

    image: ImageFacts
    models: list[Comparison | FailedComparison]
    warnings: list[str]


class CompareResponse(_Shape):
    """The answer where `model` was repeated: a block for each model in each result."""

    request_id: str
    models: list[ModelName]
    results: list[ComparedPicture | FailedPicture]
    timing_ms: Timing


class Png(_Shape):
    """A PNG inside JSON. A mask is indexed: a pixel is its class id and the palette is the legend."""

    format: Literal["png"]
    encoding: Literal["base64"]
    width: int
    height: int
    data: str


class Segment(_Shape):
    """One class that is in the picture; the largest area comes first.

    `share` is of all pixels, `bbox` is x, y, width, height in pixels of the upright picture, `score` the mean
    probability over the class's pixels.
    """

    class_id: int
    label: str
    wnid: str | None = None
    color: HexColour
    pixels: int = Field(ge=1)
    share: Score
    bbox: tuple[int, int, int, int]
    score: Score


class SegmentedPicture(_Place):
    """A picture's classes by area. The mask has the upright upload's size; `mask` and `overlay` if asked for."""

    image: ImageFacts
    mask: Png | None = None
    overlay: Png | None = None
    segments: list[Segment]
    warnings: list[str]


class SegmentResponse(_Shape):
    """The answer to one picture or many."""

    request_id: str
    model: ModelName
    results: list[SegmentedPicture | FailedPicture]
    timing_ms: Timing


State = Literal["ready", "loading", "unavailable"]


class ModelSummary(ModelName):
    """A model that is served."""

    summary: str
    licence: str
    source: str
    state: State
    default: bool = Field(description="whether it answers where no model is named")
    classes: int
    published: dict[str, Any] = Field(description="scores that the authors state")
    measured: dict[str, Any] = Field(description="scores that we measured")


class ModelList(_Shape):
    """The models that are served."""

    models: list[ModelSummary]


class LabelRow(_Shape):
    """A class of a model, with its colour in masks."""

    class_id: int
    label: str
    wnid: str | None = None
    color: HexColour | None = None


class InputFacts(_Shape):
    """How a picture becomes the network's input."""

    profile: str
    size: int


class Limits(_Shape):
    """What an upload may be."""

    max_upload_bytes: int
    max_images: int
    max_pixels: int
    max_side: int
    min_side: int


class ModelDetail(ModelSummary):
    """A model with its labels, its input and what may be sent to it."""

    network: str
    input: InputFacts
    labels: list[LabelRow]
    limits: Limits
    formats: list[str] = Field(description="picture formats that are accepted")


class ModelReadiness(_Shape):
    """Why a model counts as ready: it has a ready worker, and one answered a test picture."""

    state: State
    workers_ready: int
    workers_configured: int
    answered: bool


class Ready(_Shape):
    """Every served model is ready."""

    status: Literal["ready"]
    models: dict[str, ModelReadiness]


class Live(_Shape):
    """The process answers."""

    status: Literal["live"]
