"""Selects the models to serve: those that are named, or all of the store that have their weights."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from service.host.run_options import RunOptions
from service.models import model_order, zoo
from service.models.cards import CardError, ModelCard
from service.models.default_store import is_installed
from service.tasks import task_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Selection:
    """The selected cards, and what was left out: cards without weights, and the reason for each unreadable folder."""

    cards: list[ModelCard]
    missing: list[ModelCard] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def tell(self, say: Say) -> None:
        """Say what was left out."""
        for reason in self.unreadable.values():
            say(f"Leaving out an unreadable card: {reason}")
        for card in self.missing:
            say(f"Leaving out {card.name}: its weights {card.weights_path} are missing")


def select(store: Path, names: Iterable[str]) -> Selection:
    """Select the models of these names, or without names all whose weights are present, first added first.

    Raises `CardError` for an unknown name, or if no model has its weights.
    """
    found = zoo.read_nonempty_zoo(store, task_of)
    if names := list(names):
        return Selection(found.select(names))
    defaults = [card for card in model_order.ordered(found.values(), store) if card.is_default]
    present = [card for card in defaults if card.weights_path.is_file()]
    missing = [card for card in defaults if not card.weights_path.is_file()]
    if not present:
        where = ", ".join(str(card.weights_path) for card in missing) or f"{store.resolve()}/*/weights"
        ways = "install resnest-starter-models, or name models to pull with --models"
        hint = f"; {ways}" if is_installed(store) else ""
        raise CardError(f"no model has its weights: {where} missing{hint}")
    return Selection(present, missing, found.unreadable)


def select_models(options: RunOptions, say: Say) -> list[ModelCard]:
    """Return the models to serve, and say what is left out. Raises `CardError` as `select` does."""
    selection = select(options.store, options.models)
    selection.tell(say)
    return selection.cards
