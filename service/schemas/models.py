"""What the service tells of its models and of itself."""

from typing import Any, Literal

from pydantic import Field

from service.schemas.shapes import ClassLabel, HexColour, ModelName, Shape

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
    input: InputFacts
    memory: Memory
    best: BestFacts | None = Field(default=None, description="of a segmenter: what `quality=best` does")
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


class Live(Shape):
    """The process answers."""

    status: Literal["live"]
