"""The models to score, in this process or behind a running service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from service.imaging import resizers
from service.measure.accuracy.scoring import scoring_of
from service.measure.pipeline import Pipeline
from service.models.cards import CardError, ModelCard
from service.models.identity import identity
from service.models.labels import Label
from service.tasks import PREDICT, can_run, operation_of, task_of
from service.tasks.scoring_base import PipelineOutput, Scoring

Run = Callable[..., list[PipelineOutput]]


@dataclass(frozen=True)
class Subject:
    """A model to score. `open` loads it and returns a function from uploads, best `batch` of them, to outputs.

    `identity` differs if outputs may: it has the card's identity, the operation and the address of a service. `resizer`
    is the library that resizes images; None if a service does.
    """

    name: str
    version: str
    task: str
    classes: tuple[Label, ...]
    published: dict[str, Any]
    identity: str
    batch: int
    open: Callable[[], Run]
    resizer: str | None = None
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def scoring(self) -> Scoring[Any, Any]:
        """How models of the task are scored."""
        return scoring_of(self.task)

    @property
    def labels(self) -> Sequence[str]:
        """The labels in the order of their class ids."""
        return [label.label for label in self.classes]

    @cached_property
    def class_ids(self) -> dict[str, int]:
        """The class id of each label that only one class has, and of each WordNet id."""
        labels = list(self.labels)
        unique = {label: index for index, label in enumerate(labels) if labels.count(label) == 1}
        return unique | {label.wnid: label.class_id for label in self.classes if label.wnid}


def of_card(card: ModelCard, run: Run | None = None, quality: str = "fast") -> Subject:
    """Return the model of a card, which runs in this process by the code that serves it.

    `run` is the model, if it is loaded already. Raises `CardError` if the model cannot be asked for that quality.
    """
    operation = scoring_of(task_of(card).name).qualities.get(quality, PREDICT)
    if not can_run(card, operation):
        raise CardError(f"{card.name} cannot be asked for quality={quality}")
    return Subject(
        name=card.name,
        version=card.version,
        task=card.task,
        classes=card.classes,
        published=card.published,
        identity=f"{identity(card)} {operation}",
        batch=operation_of(card, operation).batch_size(card),
        open=lambda: run or Pipeline.load(card, operation=operation),
        resizer=resizers.name(card.input),
        measured=card.measured,
    )
