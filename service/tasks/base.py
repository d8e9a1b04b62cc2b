"""What a task is: the operations of its models, its endpoints, and what else the service must know of it.

A task is data. It is registered once, in `service.tasks`. Nothing here loads a web framework or torch.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel

from service.errors import InvalidParameter
from service.models.cards import ModelCard
from service.models.inputs import Input
from service.models.labels import Label, ids_by_name
from service.tasks import shared_image
from service.tasks.frame import Array, Runtime
from service.tasks.shared_image import InputImage

Arrays = dict[str, Array]
Pixels = shared_image.Pixels
QueryModel = TypeVar("QueryModel", bound=BaseModel)

PREDICT: Final = "predict"  # the operation that every model of every task has
DIGITS: Final = 6  # of scores and shares in responses
SHOWN_LABELS: Final = 20  # in the error about an unknown class


@dataclass(frozen=True)
class DecodedFacts:
    """The facts of a decoded upload: upright size in pixels, file format, mode, and warnings about losses."""

    width: int
    height: int
    format: str
    mode: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ModelOutput:
    """A model's output for one image: arrays by name, the size of its batch, and seconds in the model and in queues.

    `worker_bytes` is the resident memory of the worker, and `runtime` what runs the model there, None where the worker
    does not report it. `is_halved` says that the batch did not fit into memory, and was computed in smaller passes.
    """

    arrays: Arrays
    batch: int
    inference_s: float
    queue_s: float = 0.0
    worker_bytes: int | None = None
    runtime: Runtime | None = None
    is_halved: bool = False


class Layer(NamedTuple):
    """Something to draw over an upload: `draw` returns the file of both.

    `pixels` are computed besides those of the upload, such as the pixels of masks.
    """

    draw: Callable[[Image.Image], bytes]
    pixels: int = 0


class Painting(Protocol):
    """Masks to render from arrays alone: what decode processes do for large ones. It can be pickled."""

    @property
    def pixels(self) -> int:
        """The pixels to compute, by which the cost is estimated."""

    def paint(self) -> Any:
        """Return the rendered masks."""


@dataclass(frozen=True)
class Drawn:
    """What decode processes made for a response: a file for each layer, and what a `Painting` returned."""

    files: Sequence[bytes] = ()
    painted: Any = None


@dataclass(frozen=True)
class Operation:
    """Something that a worker can be asked to do with an image, and what that takes.

    `fits` checks a worker's arrays against the card and the image that was sent. `response_bytes` bounds the arrays of
    one image. `input` says how an image becomes the worker's input. `cost` is in single passes of the network.
    `deadline_s` is used where a request names none. `batch_size` is in images per exchange with a worker. Each image
    takes `slots` of the admission control, and a request has at most `max_images` images. Long operations have a queue
    of their own, so that short ones do not wait for them.
    """

    name: str
    fits: Callable[[ModelCard, InputImage, Arrays], bool]
    response_bytes: Callable[[ModelCard], int]
    input: Callable[[ModelCard], Input] = lambda card: card.input
    cost: Callable[[ModelCard], float] = lambda _card: 1.0
    deadline_s: Callable[[ModelCard], float] = lambda card: card.serving.deadline_s
    batch_size: Callable[[ModelCard], int] = lambda card: card.serving.batch_size
    slots: int = 1
    max_images: int | None = None
    has_own_queue: bool = False

    def runs_on(self, card: ModelCard) -> bool:
        """Return whether a model can do this: networks of other libraries can only `predict`."""
        return self.name == PREDICT or card.network.library == "own"


class Rendering:
    """What a request wants made of each model output. Endpoints return one from `plan`.

    `operation` is the name of the operation to run. `media_types` are what a response to one image can be instead of
    JSON. `file` runs in threads of the gateway, and `members` does too, except for light endpoints.
    `layers` and `painting` run in the event loop and return work for decode processes. Comparisons have no layers.
    """

    operation: str = PREDICT
    media_types: Sequence[str] = ()

    def members(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput, drawn: Drawn) -> dict[str, Any]:
        """Return the JSON members of one image's result that come from the model.

        Its `warnings`, a list, are added to those about the upload.
        """
        raise NotImplementedError

    def file(self, card: ModelCard, facts: DecodedFacts, output: ModelOutput, drawn: Drawn) -> bytes:
        """Return the response to one image that is only a file, from what `alone` returned."""
        raise NotImplementedError

    def layers(self, _card: ModelCard, _facts: DecodedFacts, _output: ModelOutput) -> list[Layer]:
        """Return what to draw over the decoded upload, a file for each. Raises `ServiceError`."""
        return []

    def painting(self, _card: ModelCard, _facts: DecodedFacts, _output: ModelOutput) -> Painting | None:
        """Return what to paint, in a decode process unless it is small; None for nothing. Raises `ServiceError`."""
        return None

    def alone(self, _media_type: str) -> "Rendering":
        """Return the same for a response that is only a file of this type, which is one of `media_types`."""
        return self


@dataclass(frozen=True)
class Endpoint(Generic[QueryModel]):
    """A route that takes images: `/v1/classify`, `/v1/embed` and `/v1/explain` are three endpoints of one task.

    `operation` chooses the operation from the query, before a model is chosen by it. `plan` checks the query against
    the chosen models and raises `InvalidParameter`. `responses` are the JSON documents, with an example of each in
    `examples`. `image_types` are media types of other responses, for OpenAPI. With `compares_models` the query may name
    several models. `has_labels` says whether responses name classes, in the language that the query asks for.
    `is_light` means that `Rendering.members` takes less time than handing it to a thread. Every field of `query` has a
    default. It has `model: list[str]` and, with `has_labels`, `lang: Lang`.
    """

    path: str
    summary: str
    description: str
    query: type[QueryModel]
    responses: tuple[type[BaseModel], ...]
    examples: Callable[[], tuple[dict[str, Any], ...]]
    plan: Callable[[Sequence[ModelCard], QueryModel], Rendering]
    operation: Callable[[QueryModel], str] = lambda _query: PREDICT
    image_types: tuple[str, ...] = ()
    compares_models: bool = False
    has_labels: bool = True
    is_light: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for a query model that the routes cannot use."""
        needed = {"model", "lang"} if self.has_labels else {"model"}
        required = [name for name, field in self.query.model_fields.items() if field.is_required()]
        if required or needed - self.query.model_fields.keys():
            raise ValueError(f"{self.path}: its query needs {', '.join(sorted(needed))}, and a default for every field")

    @property
    def name(self) -> str:
        """Return the last part of the path, which names the route in OpenAPI and on the command line."""
        return self.path.rpartition("/")[2]


def _no_members(_card: ModelCard) -> dict[str, Any]:
    return {}


def label_row(label: Label) -> dict[str, Any]:
    """Return a `ClassLabel` document; the WordNet id is left out where the label has none."""
    row: dict[str, Any] = {"label": label.label, "class_id": label.class_id}
    return row if label.wnid is None else {**row, "wnid": label.wnid}


def _square_input(_network: str) -> dict[str, Any]:
    return {"profile": "official", "size": 224}


@dataclass(frozen=True)
class Task:
    """A kind of prediction, as cards name it, and all that the service must know of it.

    `scope` is the API key scope that its endpoints need. The first of `operations` is `predict`. `head` is the module
    with its torch code, whose `HEAD` is a `service.tasks.torch_head.TorchHead`; only workers import it. `scoring` is
    the module whose `SCORING` is a `service.tasks.scoring_base.Scoring`; only `evaluate` imports it. `v2_outputs`
    returns datatype (FP32, INT32 or UINT8) and shape of each output of the Open Inference Protocol, with -1 for lengths
    that differ. Those of `v2_on_request` are left out unless requested. `v2_arrays` makes them of the facts and arrays
    of all images, and of `v2_parameters`, which are read from the parameters of the request. Without it they are the
    arrays themselves. `agreement` returns how far two versions agree on an image, 0 to 1. `label` returns
    a class as `GET /v1/models/{name}` lists it, and `details` further members of that document. For each value of
    `--quality` that stands for another operation than `predict`, they have an object of that name with the operation's
    `deadline_s`, from which `evaluate --url` takes its timeout. `published_score` is the column of `models list` and
    its name on a card.

    For `models import`, `networks` matches the names of our networks that are for the task. None stands for all that no
    other task matches, and for those of other libraries. `imported_input` returns the input of a network's published
    models, and `imported_serving` is a table of an imported card. With `has_colours` each class has a colour.

    For `train`, `features` is the operation whose only output is the input of the network's last layer, `fc`. Models of
    a task without it cannot be trained.
    """

    name: str
    scope: str
    operations: tuple[Operation, ...]
    endpoints: tuple[Endpoint[Any], ...]
    head: str
    scoring: str
    v2_outputs: Callable[[ModelCard], dict[str, dict[str, Any]]]
    agreement: Callable[[ModelCard, Mapping[str, Array], ModelCard, Mapping[str, Array]], float]
    published_score: tuple[str, str]
    v2_arrays: Callable[[ModelCard, Sequence[tuple[DecodedFacts, Arrays]], Any], dict[str, Array]] | None = None
    v2_parameters: type[BaseModel] | None = None
    v2_on_request: frozenset[str] = frozenset()
    imported_input: Callable[[str], Mapping[str, Any]] = _square_input
    imported_serving: Mapping[str, Any] = field(default_factory=dict)
    networks: re.Pattern[str] | None = None
    has_colours: bool = False
    features: str | None = None
    label: Callable[[Label], dict[str, Any]] = label_row
    details: Callable[[ModelCard], dict[str, Any]] = _no_members

    @cached_property
    def by_name(self) -> Mapping[str, Operation]:
        """Return the operations by name."""
        return {operation.name: operation for operation in self.operations}

    def operations_of(self, card: ModelCard) -> list[Operation]:
        """Return the operations that a model of the task can do."""
        return [operation for operation in self.operations if operation.runs_on(card)]


def invalid(parameter: str, detail: str, **bounds: int) -> InvalidParameter:
    """Return the error about one query parameter, with the bound that it broke, if any."""
    return InvalidParameter.of([(parameter, detail)], **bounds)


def class_ids(card: ModelCard, names: Sequence[str]) -> list[int]:
    """Return the ids of classes given by label or id, each once. A label goes before an id.

    Raises `InvalidParameter` for an unknown one, and for a label of several classes.
    """
    known = ids_by_name(card.classes)
    for name in names:
        if len(ids := known.get(name, ())) != 1:
            several = f"Several classes have the label {name}: name one by its id, {', '.join(map(str, ids))}."
            raise invalid("classes", several if ids else _no_class(card, name))
    return list(dict.fromkeys(known[name][0] for name in names))


def _no_class(card: ModelCard, name: str) -> str:
    """Return a sentence with the labels to choose from: all, or those that contain the name."""
    labels, no_such = [each.label for each in card.classes], "The model has no such class."
    known, parts = ids_by_name(card.classes), [part.strip() for part in name.split(",")]
    if len(parts) > 1 and all(part in known for part in parts):
        return f"{no_such} Repeat the parameter for each class, as classes={parts[0]}&classes={parts[1]}."
    if len(labels) <= SHOWN_LABELS:
        return f"{no_such} It has {', '.join(labels)}."
    similar = [label for label in labels if name and name.casefold() in label.casefold()][:SHOWN_LABELS]
    hint = f"Similar ones are {', '.join(similar)}. " if similar else ""
    return f"{no_such} {hint}GET /v1/models/{card.name} lists its labels."


def has_probabilities(scores: Array, classes: int) -> bool:
    """Return whether `scores` is one finite probability for each class, float32 `(classes,)`; NaN compares false."""
    right = scores.dtype == np.float32 and scores.shape == (classes,)
    return right and bool(((scores >= -1e-4) & (scores <= 1 + 1e-4)).all())


def same_labels(ours: ModelCard, theirs: ModelCard) -> npt.NDArray[np.int64]:
    """Return, for each class of `theirs`, the id of the class of `ours` with the same label, or -1."""
    ids = {label.label: label.class_id for label in ours.classes}
    return np.array([ids.get(label.label, -1) for label in theirs.classes])
