"""The order in which the models of a store were added. The first served model of a task is its default.

The order is in a file of the store, which `run` and the commands that add and remove models write, and which everything
that serves reads. By name alone, a new model could become the default because its name sorts first.
"""

import json
import logging
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from service.models import atomic_write, text_file, zoo
from service.models.cards import CardError, ModelCard

log = logging.getLogger(__name__)

FILE: Final = "model_order.toml"
MODE: Final = 0o644  # another user may serve than the one who adds models
HEAD: Final = (
    "# Written by resnest-service: the models of each task in the order in which they were added. The first one that\n"
    "# is served is the default of its task. You may change the order; delete the file to begin again, by name.\n"
)

Order = dict[str, tuple[str, ...]]


def read(store: Path) -> Order:
    """Return the names of the models by task, first added first. Raises `CardError` for a file that cannot be used."""
    path = store / FILE
    try:
        found = tomllib.loads(text_file.read(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CardError(f"{path} cannot be read: {reason}; correct or delete it") from error
    for task, names in found.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CardError(f"{path}: {task} is not a list of model names; correct or delete it")
    return {task: tuple(names) for task, names in found.items()}


def ordered(cards: Iterable[ModelCard], store: Path) -> list[ModelCard]:
    """Return the cards in the order of the store's file. Cards that it does not name are last, as they come.

    Raises `CardError` as `read` does.
    """
    places = {(task, name): place for task, names in read(store).items() for place, name in enumerate(names)}
    return sorted(cards, key=lambda card: places.get((card.task, card.family), len(places)))


def record(store: Path) -> list[str]:
    """Append the models of the store that have weights to its file, and take out those that are gone.

    A store is recorded before a model is added, and after one is removed. A model whose card cannot be read keeps its
    place. Return a line for each task whose first model is gone, such as `default of classification: a -> b`. A store
    that cannot be written stays as it is. Raises `CardError` as `read` does.
    """
    before = read(store)
    after = _after(before, zoo.read_zoo(store))
    if after != before:
        try:
            atomic_write.write(store / FILE, _text(after).encode(), mode=MODE)
        except OSError as error:
            log.info("%s cannot be written: %s", store / FILE, error.strerror)
    changed = {task: names[0] for task, names in before.items() if names and after.get(task, ("",))[0] != names[0]}
    return [f"default of {task}: {name} -> {after.get(task, ('none',))[0]}" for task, name in changed.items()]


def _after(before: Mapping[str, Iterable[str]], found: zoo.Zoo) -> Order:
    servable = [card for card in found.values() if card.is_default]
    unreadable = {folder.partition("@")[0] for folder in found.unreadable}
    after = {}
    for task in dict.fromkeys((*before, *(card.task for card in servable))):
        here = dict.fromkeys(card.family for card in servable if card.task == task)
        kept = [name for name in before.get(task, ()) if name in here or name in unreadable]
        after[task] = tuple(dict.fromkeys((*kept, *here)))
    return {task: names for task, names in after.items() if names}


def _text(order: Order) -> str:
    return HEAD + "".join(f"{task} = {json.dumps(names)}\n" for task, names in order.items())
