"""The models that are served: which one a request means, and what is told of each."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from service.config.settings import Settings
from service.errors import ModelNotFound
from service.gateway.http.problems import invalid
from service.imaging import decoder
from service.models.cards import CardError, ModelCard, Task, find
from service.models.identity import identity
from service.models.labels import Label
from service.tasks import multiscale
from service.tasks.operations import Question, can_answer, cost, deadline_s
from service.tasks.schemas import State


class ModelRegistry:
    """The served cards by name; the first of a task answers where a request names none."""

    def __init__(self, cards: dict[str, ModelCard], settings: Settings) -> None:
        """Raises `CardError` where a model to serve is not in the store, or none is, or a default is not served."""
        # A published model that was never pulled has no weights, so no checksum of them: no worker can have it.
        names = settings.models or [name for name, card in cards.items() if card.is_default]
        served = {card.name: card for card in _named(cards, names, "the model store has no")}
        first = _named(served, settings.default_models, "of the default models there are not served:")
        self.cards = {card.name: card for card in (*first, *served.values())}
        if not self.cards:
            raise CardError(f"the model store {settings.model_store} has no models with weights")
        # Now, and not at each request: the checksum of weights that were pulled or imported is read from the disk.
        self._identities = {card.name: identity(card) for card in self.cards.values()}
        self._settings = settings
        self._able = cache(self._find_able)

    def choose(self, task: Task, names: Sequence[str], question: Question = "answer") -> list[ModelCard]:
        """The cards of these names, each once, or the first that can be asked that. Raises `ModelNotFound`."""
        available = self._able(task, question)
        wanted = [find(available, name) for name in names or list(available)[:1]]
        if not wanted or not all(wanted):
            raise ModelNotFound(f"No model of that name is served for {task}.", available=list(available))
        return list({card.name: card for card in wanted if card is not None}.values())

    def card(self, name: str) -> ModelCard:
        """The card of that name. Raises `ModelNotFound`."""
        card = find(self.cards, name)
        if card is None:
            raise ModelNotFound("No model of that name is served.", available=list(self.cards))
        return card

    def identities(self, cards: Sequence[ModelCard]) -> list[str]:
        """What makes each one's answers its own, its weights among it."""
        return [f"{card.name} {self._identities[card.name]}" for card in cards]

    def summary(self, card: ModelCard, state: State) -> dict[str, Any]:
        """A `schemas.ModelSummary`, without its part in the traffic."""
        return {
            **name_of(card),
            "summary": card.summary,
            "licence": card.licence,
            "source": card.source,
            "state": state,
            "default": self.choose(card.task, []) == [card],
            "classes": card.network.classes,
            "published": card.published,
            "measured": card.measured,
        }

    def detail(self, card: ModelCard, state: State, worker_bytes: int | None = None) -> dict[str, Any]:
        """A `schemas.ModelDetail`, without its part in the traffic; `worker_bytes` is what is in memory of a worker."""
        limits = ("max_upload_bytes", "max_images", "max_pixels", "max_side", "min_side")
        return {
            **self.summary(card, state),
            "network": card.network.name,
            "identity": self._identities[card.name],
            "input": {"profile": card.input.profile, "size": card.input.size},
            **_best(card),
            "memory": {"weights_bytes": card.weights_bytes, "worker_bytes": worker_bytes},
            "languages": list(card.translations),
            "labels": [_label(card, label) for label in card.classes],
            "limits": {name: getattr(self._settings, name) for name in limits},
            "formats": decoder.accepted(),
        }

    def _find_able(self, task: Task, question: Question) -> dict[str, ModelCard]:
        """The cards of a task that can be asked that."""
        return {name: card for name, card in self.cards.items() if card.task == task and can_answer(card, question)}


def _named(cards: Mapping[str, ModelCard], names: Iterable[str], otherwise: str) -> list[ModelCard]:
    found = {name: find(cards, name) for name in names}
    missing = [name for name, card in found.items() if card is None]
    if missing:
        raise CardError(f"{otherwise} {', '.join(missing)}")
    return [card for card in found.values() if card is not None]


def class_ids(card: ModelCard, names: Sequence[str]) -> list[int]:
    """The ids of classes named by label or id, each once. Raises `InvalidParameter` for one that the model has not."""
    known = {name: label.class_id for label in card.classes for name in (str(label.class_id), label.label)}
    if not all(name in known for name in names):
        raise invalid("classes", "The model has no such class; GET /v1/models/{name} lists its labels.")
    return list(dict.fromkeys(known[name] for name in names))


def name_of(card: ModelCard) -> dict[str, str]:
    """A `schemas.ModelName`."""
    return {"name": card.name, "version": card.version, "task": card.task}


def label_of(label: Label) -> dict[str, Any]:
    """What is told of a class wherever it is named: its WordNet id only where it has one."""
    row: dict[str, Any] = {"label": label.label, "class_id": label.class_id}
    return row if label.wnid is None else {**row, "wnid": label.wnid}


def _best(card: ModelCard) -> dict[str, Any]:
    if not can_answer(card, "best"):
        return {}
    facts = {"scales": card.best.scales, "window": multiscale.window(card.input, card.best)}
    times = {"cost": round(cost(card, "best"), 1), "deadline_s": deadline_s(card, "best")}
    return {"best": {**facts, **times}}


def _label(card: ModelCard, label: Label) -> dict[str, Any]:
    return label_of(label) | ({"color": label.hex_color} if card.task == "segmentation" else {})
