"""The models that are served: which one a request means, and what is told of each."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from service.config.settings import Settings
from service.errors import ModelNotFound
from service.gateway.inference.readiness import State
from service.imaging import decoder
from service.models.cards import CardError, ModelCard, find
from service.models.identity import identity
from service.tasks import PREDICT, can_run, task_of


class ModelRegistry:
    """The served cards by name; the first of a task answers where a request names none."""

    def __init__(self, cards: dict[str, ModelCard], settings: Settings) -> None:
        """Raises `CardError` where a model to serve is not in the store, or none is, or a default is not served."""
        # A published model that was never pulled has no weights, so no checksum of them: no worker can have it.
        names = settings.models or [name for name, card in cards.items() if card.is_default]
        served = {card.name: card for card in _named(cards, names, "the model store has no")}
        for card in served.values():
            task_of(card)
        first = _named(served, settings.default_models, "of the default models there are not served:")
        self.cards = {card.name: card for card in (*first, *served.values())}
        if not self.cards:
            raise CardError(f"the model store {settings.model_store} has no models with weights")
        # Now, and not at each request: the checksum of weights that were pulled or imported is read from the disk.
        self._identities = {card.name: identity(card) for card in self.cards.values()}
        self._settings = settings
        self._able = cache(self._find_able)

    def choose(self, task: str, names: Sequence[str], operation: str = PREDICT) -> list[ModelCard]:
        """The cards of these names, each once, or the first that can be asked that. Raises `ModelNotFound`."""
        available = self._able(task, operation)
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
            **task_of(card).details(card),
            "memory": {"weights_bytes": card.weights_bytes, "worker_bytes": worker_bytes},
            "languages": list(card.translations),
            "labels": [task_of(card).label(label) for label in card.classes],
            "limits": {name: getattr(self._settings, name) for name in limits},
            "formats": decoder.accepted_formats(),
        }

    def _find_able(self, task: str, operation: str) -> dict[str, ModelCard]:
        """The cards of a task that can be asked that."""
        return {name: card for name, card in self.cards.items() if card.task == task and can_run(card, operation)}


def _named(cards: Mapping[str, ModelCard], names: Iterable[str], otherwise: str) -> list[ModelCard]:
    found = {name: find(cards, name) for name in names}
    missing = [name for name, card in found.items() if card is None]
    if missing:
        raise CardError(f"{otherwise} {', '.join(missing)}")
    return [card for card in found.values() if card is not None]


def name_of(card: ModelCard) -> dict[str, str]:
    """A `schemas.ModelName`."""
    return {"name": card.name, "version": card.version, "task": card.task}
