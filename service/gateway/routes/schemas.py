"""The responses that describe the models, readiness and traffic."""

from typing import Any, Literal

from pydantic import Field

from service.gateway.inference.model_watch import State
from service.gateway.metrics import Transport
from service.tasks.shapes import ClassLabel, HexColour, ModelName, Shape


class ModelSummary(ModelName):
    """A served model."""

    summary: str
    licence: str
    source: str
    state: State = Field(description="`loading` until the model is ready for the first time.")
    default: bool = Field(description="Whether the model serves requests for its task that name no model.")
    share: float = Field(
        ge=0, le=1, description="Share of the model's requests without a version that this version serves, 0 to 1."
    )
    shadow: float = Field(
        ge=0,
        le=1,
        description="Share of the model's images that this version also receives as shadow traffic, after the response "
        "was sent, 0 to 1.",
    )
    classes: int = Field(description="Number of classes.")
    knows: str = Field(description="The classes in one line, or the first ones of many. The model knows nothing else.")
    published: dict[str, Any] = Field(description="Scores that the authors published.")
    measured: dict[str, Any] = Field(description="Scores that this project measured.")


class ModelList(Shape):
    """The served models."""

    models: list[ModelSummary]


class LabelRow(ClassLabel):
    """A class of a model, with its colour in masks, and its id in COCO's annotations."""

    color: HexColour | None = None
    category_id: int | None = None


class InputFacts(Shape):
    """How an image becomes the network's input."""

    profile: str = Field(description="Preprocessing profile: `official`, `timm`, `proportional` or `whole`.")
    size: int = Field(description="Side of the square input, or maximum long side, in pixels.")


class Memory(Shape):
    """The memory of a model in bytes; null if unknown."""

    weights_bytes: int | None = Field(description="Size of the weight file.")
    worker_bytes: int | None = Field(
        description="Resident memory of the worker process that answered the last probe, with its libraries, without "
        "GPU memory."
    )


class CalibrationFacts(Shape):
    """What the calibration of a classifier changes. Its measured rates are in `measured.calibration`."""

    temperature: float = Field(gt=0, description="The logits are divided by it before the softmax.")
    min_logit: float | None = Field(
        default=None, description="An image whose largest logit is below it has `unknown: true`."
    )
    min_domain_score: float | None = Field(
        default=None,
        description="An image whose domain score is below it has `unknown: true`. The score is the logarithm of the "
        "odds that the image is of the model's classes, by its features.",
    )


class BestFacts(Shape):
    """What `quality=best` does, and what it costs."""

    scales: list[float] = Field(description="Image sizes, as multiples of the size in a single pass.")
    window: int = Field(description="Side of the sliding window in pixels.")
    cost: float = Field(description="Work, as a multiple of a single pass.")
    deadline_s: float = Field(description="Deadline of an image in seconds, if the request sets none.")


class Limits(Shape):
    """The limits on uploads."""

    max_upload_bytes: int = Field(description="Maximum size of a request's body in bytes.")
    max_images: int = Field(description="Maximum number of images in a request.")
    max_pixels: int = Field(description="Maximum number of pixels of an image.")
    max_side: int = Field(description="Maximum of an image's longer side in pixels.")
    min_side: int = Field(description="Minimum of an image's shorter side in pixels.")


class ModelDetail(ModelSummary):
    """A model with its labels, its input, and the limits on uploads."""

    network: str
    identity: str = Field(
        description="Fingerprint of weights, labels, network, input and precision. It changes whenever the model's "
        "outputs could change."
    )
    input: InputFacts
    memory: Memory
    best: BestFacts | None = Field(default=None, description="What `quality=best` does. Only for segmenters.")
    calibration: CalibrationFacts | None = Field(default=None, description="Only for calibrated classifiers.")
    transport: Transport = Field(
        description="How decoded images reach the workers: in memory that a worker on the same host shares with the "
        "gateway (`shared_memory`), or in the request (`bytes`)."
    )
    masks: bool | None = Field(default=None, description="Whether the model returns masks. Only for detectors.")
    proposals: int | None = Field(
        default=None, description="Largest number of proposals that the model classifies. Only for detectors."
    )
    languages: list[str] = Field(description="Values of `lang`. The labels listed here are in the first language.")
    labels: list[LabelRow]
    limits: Limits
    formats: list[str] = Field(description="Accepted image formats.")


class ModelReadiness(Shape):
    """The readiness of a model. It is ready if it has a ready worker, and a worker has answered a probe image."""

    state: State
    workers_ready: int
    workers_configured: int
    answered: bool = Field(description="Whether a probe image was answered while a worker was ready that still is.")
    circuits: dict[Literal["closed", "open", "half_open"], int] = Field(
        description="Number of model servers by circuit breaker state: in use (`closed`), skipped after failures "
        "(`open`), or being tested again (`half_open`)."
    )


class Ready(Shape):
    """The response while the instance is ready. Single models may not be."""

    status: Literal["ready"]
    models: dict[str, ModelReadiness]
    limits: Literal["local", "shared", "failing"] = Field(
        description="Where the callers' limits are counted: in this process (`local`), in Redis (`shared`), or in "
        "Redis, which cannot be reached (`failing`)."
    )


class ShadowFacts(Shape):
    """The version that receives shadow traffic, and its share of the images, 0 to 1."""

    version: str
    share: float


class ModelTraffic(Shape):
    """How a model's requests are spread over its versions."""

    sticky: Literal["caller", "none"] = Field(description="Whether a caller always gets the same version.")
    shares: dict[str, float] = Field(description="Share of the requests by version, 0 to 1.")
    shadow: ShadowFacts | None


class Traffic(Shape):
    """The traffic shares in force."""

    file: str | None = Field(description="Path of the traffic file.")
    mistake: str | None = Field(description="Why the last change of the file is not in force; null if it is.")
    models: dict[str, ModelTraffic]


class Live(Shape):
    """The response of a live process."""

    status: Literal["live"]
