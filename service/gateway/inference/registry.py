"""The model registry: the served models, which of them a request means, and their public descriptions."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from service.config.settings import Settings
from service.errors import ModelNotFound
from service.gateway.http import mistakes
from service.gateway.inference.model_watch import State
from service.gateway.metrics import Transport
from service.host.served_models import default_models
from service.imaging import decoder
from service.models import labels, model_order
from service.models.cards import CardError, ModelCard
from service.models.identity import identity
from service.models.model_folder import is_name
from service.models.zoo import find
from service.tasks import PREDICT, can_run, task_of


class ModelRegistry:
    """The served cards by name. The first card of a task is its default: it serves requests that name no model."""

    def __init__(self, cards: Mapping[str, ModelCard], settings: Settings, *, all_of_them: bool = False) -> None:
        """Choose the cards to serve. Raises `CardError` if there are none, or a named or default model is missing.

        `all_of_them` says that another process has chosen, and `settings.models` does not apply.
        """
        chosen = list(cards) if all_of_them else settings.models or _served_by_default(cards, settings)
        self._settings = settings
        self._candidates = cache(self._find_candidates)
        self._identities: dict[str, str] = {}
        self.cards: dict[str, ModelCard] = {}
        self.replace(_named(cards, chosen, "models that are not in the model store:"))

    def replace(self, cards: Iterable[ModelCard]) -> None:
        """Serve these cards from now on. Raises `CardError` if there are none, or a default model is missing."""
        served = {card.name: card for card in cards}
        for card in served.values():
            task_of(card)
        _named(served, self._settings.default_models, "default models that are not served:")
        if not served:
            raise CardError(f"the model store {self._settings.model_store} has no models with weights")
        # Computed once, because the checksum of weights that were pulled or imported is read from the disk.
        missing = [card for card in served.values() if card.server_name not in self._identities]
        self._identities |= {card.server_name: identity(card) for card in missing}
        ordered = default_models.in_front(list(served.values()), self._settings.default_models)
        self.cards = {card.name: card for card in ordered}
        self._candidates.cache_clear()

    def forget(self, card: ModelCard) -> None:
        """Forget a model that is no longer served and that no request uses."""
        self._identities.pop(card.server_name, None)

    def default(self, task: str, operation: str = PREDICT) -> ModelCard:
        """Return the first card of a task that can run the operation. Raises `ModelNotFound`."""
        card = next(iter(self._candidates(task, operation).values()), None)
        if card is None:
            raise self._none_served(task, operation)
        return card

    def choose(self, task: str, names: Sequence[str], operation: str = PREDICT) -> list[ModelCard]:
        """Return the cards of a task by these names, each once. Raises `ModelNotFound`."""
        available = self._candidates(task, operation)
        chosen: dict[str, ModelCard] = {}
        for name in names:
            card = find(available, name)
            if card is None:
                is_named = len(names) > 1 and is_name(name)
                raise self._not_found(task, name, operation, name if is_named else "of that name")
            chosen[card.name] = card
        return list(chosen.values())

    def names(self, task: str) -> list[str]:
        """Return the names of the served models of a task, its default first."""
        return [name for name, card in self.cards.items() if card.task == task]

    def card(self, name: str) -> ModelCard:
        """Return the card of that name. Raises `ModelNotFound`."""
        card = find(self.cards, name)
        if card is None:
            raise self.unknown(name)
        return card

    def unknown(self, name: str) -> ModelNotFound:
        """Return the error for a name that no served model has, with the most similar name."""
        similar = mistakes.nearest(name, self.cards)
        question = f" Did you mean {similar}?" if similar else ""
        return ModelNotFound(f"No model of that name is served.{question}", available=list(self.cards))

    def identities(self, cards: Sequence[ModelCard]) -> list[str]:
        """Return for each card its name and identity. They change whenever the model's outputs could change."""
        return [f"{card.name} {self._identities[card.server_name]}" for card in cards]

    def identity(self, card: ModelCard) -> str | None:
        """Return the identity of a card; None for a model that is about to be served, or is served no more."""
        return self._identities.get(card.server_name)

    def summary(self, card: ModelCard, state: State) -> dict[str, Any]:
        """Return a `schemas.ModelSummary` without the traffic shares."""
        return {
            **name_of(card),
            "summary": card.summary,
            "licence": card.licence,
            "source": card.source,
            "state": state,
            "default": self.default(card.task) == card,
            "classes": card.network.classes,
            "knows": labels.summary(card.classes),
            "published": card.published,
            "measured": card.measured,
        }

    def detail(
        self, card: ModelCard, state: State, worker_bytes: int | None = None, transport: Transport = "bytes"
    ) -> dict[str, Any]:
        """Return a `schemas.ModelDetail` without the traffic shares.

        `worker_bytes` is a worker's resident memory, and `transport` how images reach the workers.
        """
        limits = ("max_upload_bytes", "max_images", "max_pixels", "max_side", "min_side")
        return {
            **self.summary(card, state),
            "network": card.network.name,
            "identity": self._identities[card.server_name],
            "input": {"profile": card.input.profile, "size": card.input.size},
            **task_of(card).details(card),
            "memory": {"weights_bytes": card.weights_bytes, "worker_bytes": worker_bytes},
            "transport": transport,
            "languages": list(card.translations),
            "labels": [task_of(card).label(label) for label in card.classes],
            "limits": {name: getattr(self._settings, name) for name in limits},
            "formats": decoder.accepted_formats(),
        }

    def _find_candidates(self, task: str, operation: str) -> dict[str, ModelCard]:
        """Return the cards of a task whose models can run the operation."""
        return {name: card for name, card in self.cards.items() if card.task == task and can_run(card, operation)}

    def _not_found(self, task: str, name: str, operation: str, called: str) -> ModelNotFound:
        """Return the error for a name, with what a served model of that name or of the most similar one is for.

        `called` is how the error names the model.
        """
        available = self._candidates(task, operation)
        if not available:
            return self._none_served(task, operation)
        card, detail = find(self.cards, name), f"No model {called} is served for {task}."
        if card is not None:
            detail = f"{card.name} {_purpose(card, task, operation)}"
        elif similar := mistakes.nearest(name, self.cards):
            detail += f" Did you mean {similar}?"
            if similar not in available:
                detail += f" It {_purpose(self.cards[similar], task, operation)}"
        return ModelNotFound(detail, available=list(available))

    def _none_served(self, task: str, operation: str) -> ModelNotFound:
        needed = "" if operation == PREDICT else f" with the operation {operation}"
        detail = f"No model for {task}{needed} is served. Ask the operator of the service to add one."
        return ModelNotFound(detail, available=[])


def _purpose(card: ModelCard, task: str, operation: str) -> str:
    """Return what a model is served for that is not served for this task, or cannot run this operation of it."""
    if card.task == task:
        return f"does not have the operation {operation}."
    return f"is served for {card.task}: POST {task_of(card).endpoints[0].path}."


def _served_by_default(cards: Mapping[str, ModelCard], settings: Settings) -> list[str]:
    """Return the names of the models to serve if the operator names none, first added first.

    A published model that was never pulled has no checksum of its weights: no worker has it.
    """
    return [card.name for card in model_order.ordered(cards.values(), settings.model_store) if card.is_default]


def _named(cards: Mapping[str, ModelCard], names: Iterable[str], complaint: str) -> list[ModelCard]:
    found = {name: find(cards, name) for name in names}
    missing = [name for name, card in found.items() if card is None]
    if missing:
        raise CardError(f"{complaint} {', '.join(missing)}")
    return [card for card in found.values() if card is not None]


def name_of(card: ModelCard) -> dict[str, str]:
    """Return a `ModelName` document."""
    return {"name": card.name, "version": card.version, "task": card.task}
