"""What the service tells of its models and of itself."""

from typing import Any, Literal

from pydantic import Field

from service.gateway.inference.readiness import State
from service.tasks.shapes import ClassLabel, HexColour, ModelName, Shape


class ModelSummary(ModelName):
    """A model that is served."""

    summary: str
    licence: str
    source: str
    state: State
    default: bool = Field(description="whether it answers where no model is named")
    share: float = Field(
        ge=0, le=1, description="of the requests that name the model without a version, this version's"
    )
    shadow: float = Field(ge=0, le=1, description="of the pictures, what this version is shown after their answers")
    classes: int
    published: dict[str, Any] = Field(description="scores that the authors state")
    measured: dict[str, Any] = Field(description="scores that we measured")


class ModelList(Shape):
    """The models that are served."""

    models: list[ModelSummary]


class LabelRow(ClassLabel):
    """A class of a model, with its colour in masks."""

    color: HexColour | None = None


class InputFacts(Shape):
    """How a picture becomes the network's input."""

    profile: str
    size: int


class Memory(Shape):
    """What a model takes of memory; null is what is not known here."""

    weights_bytes: int | None = Field(description="of the weight file")
    worker_bytes: int | None = Field(
        description="in memory of the worker process that answered the last test picture, libraries included; what "
        "is in a GPU's memory is not"
    )


class BestFacts(Shape):
    """What `quality=best` does: sizes in multiples of one pass's, the side of a window in pixels, and what it takes."""

    scales: list[float]
    window: int
    cost: float = Field(description="times the work of one pass")
    deadline_s: float = Field(description="seconds that a picture has where its request names none")


class Limits(Shape):
    """What an upload may be."""

    max_upload_bytes: int
    max_images: int
    max_pixels: int
    max_side: int
    min_side: int


class ModelDetail(ModelSummary):
    """A model with its labels, its input and what may be sent to it."""

    network: str
    identity: str = Field(description="another where answers may be: of the weights, labels, network, input, precision")
    input: InputFacts
    memory: Memory
    best: BestFacts | None = Field(default=None, description="of a segmenter: what `quality=best` does")
    languages: list[str] = Field(description="that `lang` may ask for; the labels here are in the first")
    labels: list[LabelRow]
    limits: Limits
    formats: list[str] = Field(description="picture formats that are accepted")


class ModelReadiness(Shape):
    """Why a model counts as ready: it has a ready worker, and one answered a test picture."""

    state: State
    workers_ready: int
    workers_configured: int
    answered: bool
    circuits: dict[Literal["closed", "open", "half_open"], int] = Field(
        description="how many model servers are in use (closed), left alone after failures (open), or tried again"
    )


class Ready(Shape):
    """Every served model is ready."""

    status: Literal["ready"]
    models: dict[str, ModelReadiness]
    limits: Literal["local", "shared", "failing"] = Field(
        description="where callers' limits are counted: here, in Redis, or ought to be there and cannot"
    )


class ShadowFacts(Shape):
    """The version that is shown a share of the pictures after they were answered."""

    version: str
    share: float


class ModelTraffic(Shape):
    """How a model's requests are spread over its versions, and whether a caller stays with one."""

    sticky: Literal["caller", "none"]
    shares: dict[str, float]
    shadow: ShadowFacts | None


class Traffic(Shape):
    """What is in force, and what keeps the file's last state from being so."""

    file: str | None
    mistake: str | None
    models: dict[str, ModelTraffic]


class Live(Shape):
    """The process answers."""

    status: Literal["live"]
