"""The toy task as data."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from service.models.cards import ModelCard
from service.tasks import PREDICT, TASKS, sample
from service.tasks.base import (
    Arrays,
    DecodedFacts,
    Drawn,
    Endpoint,
    ModelOutput,
    Operation,
    Rendering,
    Task,
    invalid,
    label_row,
    same_labels,
)
from service.tasks.frame import Array
from service.tasks.shapes import ClassLabel, FailedImage, ImageFacts, ModelName, ResultItem, Shape, Timing
from service.tasks.shared_image import InputImage

MODEL = {"name": "starter-picker", "version": "1.0", "task": "picking"}


class PickQuery(Shape):
    """The query of `POST /v1/pick`."""

    model: list[str] = Field(default=[], max_length=1, description="the model's name")
    most: int = Field(default=5, ge=1, description="how many classes at most")


class PickedImage(ResultItem):
    """The classes that were picked, by class id."""

    image: ImageFacts
    picks: list[ClassLabel]
    warnings: list[str]


class PickResponse(Shape):
    """The response to one image or many."""

    request_id: str
    model: ModelName
    results: list[PickedImage | FailedImage]
    timing_ms: Timing


@dataclass(frozen=True)
class Picks(Rendering):
    """The first picked classes of each image."""

    most: int
    operation: Literal["predict"] = "predict"

    def members(self, card: ModelCard, _facts: DecodedFacts, output: ModelOutput, _drawn: Drawn) -> dict[str, Any]:
        """Return the picks."""
        ids = output.arrays["picks"].astype(int).tolist()[: self.most]
        return {"picks": [label_row(card.classes[class_id]) for class_id in ids]}


def plan(cards: Sequence[ModelCard], query: PickQuery) -> Picks:
    """Return what the query asks for."""
    (card,) = cards
    if query.most > card.network.classes:
        raise invalid("most", f"At most {card.network.classes}, the model's classes.", limit=card.network.classes)
    return Picks(query.most)


def fits(card: ModelCard, _image: InputImage, arrays: Arrays) -> bool:
    """Return whether there are ids of classes, in any number."""
    if set(arrays) != {"picks"} or arrays["picks"].ndim != 1:
        return False
    return bool((arrays["picks"] < card.network.classes).all())


def examples() -> tuple[dict[str, Any], ...]:
    """Return one image with one class."""
    return (sample.response(model=MODEL, results=[sample.result(picks=[{"label": "cat", "class_id": 0}])]),)


def v2_outputs(_card: ModelCard) -> dict[str, dict[str, Any]]:
    """Return the outputs of the Open Inference Protocol."""
    return {"picks": {"datatype": "FP32", "shape": [-1, -1]}}


def agreement(card: ModelCard, ours: Mapping[str, Array], other: ModelCard, theirs: Mapping[str, Array]) -> float:
    """Return the share of the picks of either that both have."""
    ids = same_labels(card, other)
    first, second = set(ours["picks"].astype(int).tolist()), set(ids[theirs["picks"].astype(int)].tolist())
    return len(first & second) / max(1, len(first | second))


PICKING = Task(
    name="picking",
    scope="pick",
    operations=(Operation(PREDICT, fits, response_bytes=lambda card: 4 * card.network.classes),),
    endpoints=(
        Endpoint(
            path="/v1/pick",
            summary="Pick classes",
            description="Return the classes that are likelier than the mean.",
            query=PickQuery,
            responses=(PickResponse,),
            examples=examples,
            plan=plan,
            has_labels=False,
        ),
    ),
    head="tests.toy_task.head",
    scoring="tests.toy_task.scoring",
    v2_outputs=v2_outputs,
    agreement=agreement,
    published_score=("PICKED", "picked"),
    networks=re.compile("picker_"),
)


def expected_picks(scores: Array) -> Array:
    """Return the ids of the classes that are likelier than the mean, as the head does."""
    return np.flatnonzero(scores > scores.mean()).astype(np.float32)


@contextmanager
def registered() -> Iterator[Task]:
    """Register the task during the body of the `with`."""
    TASKS[PICKING.name] = PICKING
    try:
        yield PICKING
    finally:
        del TASKS[PICKING.name]
