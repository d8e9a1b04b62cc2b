"""Which models answer requests that name none, and what of that a change of the served models changes."""

from collections.abc import Iterable, Sequence
from typing import Final

from service.models import zoo
from service.models.cards import ModelCard
from service.tasks import TASKS, can_run

NONE: Final = "none"


def in_front(cards: Sequence[ModelCard], names: Iterable[str]) -> list[ModelCard]:
    """Return the cards in their order, but first those of these names, which are the default models of a setting."""
    known = {card.name: card for card in cards}
    named = [card for name in names if (card := zoo.find(known, name))]
    return list({card.name: card for card in (*named, *cards)}.values())


def defaults(cards: Iterable[ModelCard]) -> dict[str, str]:
    """Return the name of the default model by endpoint, such as `classify`: the first card that can answer it."""
    cards, found = list(cards), dict[str, str]()
    for task in TASKS.values():
        for endpoint in task.endpoints:
            operation = endpoint.operation(endpoint.query())
            fitting = (card.family for card in cards if card.task == task.name and can_run(card, operation))
            if name := next(fitting, None):
                found[endpoint.name] = name
    return found


def changes(before: Sequence[ModelCard], after: Sequence[ModelCard], names: Iterable[str] = ()) -> list[str]:
    """Return a line for each default that differs, such as `default of classify, embed: a -> b`.

    The cards are those that are served, in their order. `names` are the default models of a setting.
    """
    names = list(names)
    was, now = (defaults(in_front(cards, names)) for cards in (before, after))
    changed: dict[tuple[str, str], list[str]] = {}
    for endpoint in dict.fromkeys((*was, *now)):
        old, new = was.get(endpoint, NONE), now.get(endpoint, NONE)
        if old != new:
            changed.setdefault((old, new), []).append(endpoint)
    return [f"default of {', '.join(endpoints)}: {old} -> {new}" for (old, new), endpoints in changed.items()]
