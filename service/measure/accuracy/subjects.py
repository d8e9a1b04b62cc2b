"""What is scored: a model as scoring sees it, in this process or behind a running service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from service.measure.pipeline import Answer, Pipeline
from service.models.cards import CardError, ModelCard, Task
from service.models.identity import identity
from service.models.labels import Label
from service.tasks.operations import OF_QUALITY, Quality, can_answer

Run = Callable[..., list[Answer]]


@dataclass(frozen=True)
class Subject:
    """A model as scoring sees it; `open` loads it, and what that gives answers `batch` pictures best at once.

    `identity` differs where its answers may: the card's, how it is asked and, of a service, the address.
    """

    name: str
    version: str
    task: Task
    classes: tuple[Label, ...]
    published: dict[str, Any]
    identity: str
    batch: int
    open: Callable[[], Run]

    @property
    def labels(self) -> Sequence[str]:
        """The labels in the order of their class ids."""
        return [label.label for label in self.classes]

    @cached_property
    def places(self) -> dict[str, int]:
        """The class id of each label that only one class has, and of each WordNet id."""
        labels = list(self.labels)
        named = {label: place for place, label in enumerate(labels) if labels.count(label) == 1}
        return named | {label.wnid: label.class_id for label in self.classes if label.wnid}


def of_card(card: ModelCard, run: Run | None = None, quality: Quality = "fast") -> Subject:
    """The model of a card by the very code that serves it. `run` is it, where it is loaded already.

    `quality` is a segmenter's. Raises `CardError` where a model cannot be asked for that.
    """
    question = OF_QUALITY[quality] if card.task == "segmentation" else "answer"
    if not can_answer(card, question):
        raise CardError(f"{card.name} cannot be asked for quality={quality}")
    return Subject(
        name=card.name,
        version=card.version,
        task=card.task,
        classes=card.classes,
        published=card.published,
        identity=f"{identity(card)} {question}",
        batch=1 if question == "best" else card.serving.batch_size,
        open=lambda: run or Pipeline.load(card, question=question),
    )


def best(answer: Answer, count: int) -> tuple[list[int], float]:
    """The likeliest classes, equal ones by class id, and the probability of the first."""
    order = np.argsort(-answer.scores, kind="stable")[:count].tolist()
    return order, float(answer.scores[order[0]])
