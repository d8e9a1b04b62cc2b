"""Packages the models of a start, and leaves out those that fail their check.

One damaged file in a store would otherwise stop every model of every worker that starts with this store.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from service.host import torchserve
from service.host.health import REFUSED
from service.models.cards import CardError, ModelCard

Say = Callable[[str], None]


@dataclass
class Packaged:
    """The models that TorchServe can load, whose archives are in `archives`, and those that were left out."""

    archives: Path
    loaded: list[ModelCard] = field(default_factory=list)
    refused: list[ModelCard] = field(default_factory=list)


def package_all(cards: Iterable[ModelCard], archives: Path, say: Say, *, strict: bool) -> Packaged:
    """Write the archive of each model into `archives`. Leave out models that fail their check, and `say` why.

    Raises `CardError` if no model is left, and with `strict` for the first that fails.
    """
    packaged, reasons = Packaged(archives), []
    for card in cards:
        try:
            torchserve.package(card, archives)
        except CardError as error:
            if strict:
                raise
            packaged.refused.append(card)
            reasons.append(str(error))
        else:
            packaged.loaded.append(card)
    if not packaged.loaded:
        raise CardError("; ".join(reasons))
    for reason in reasons:
        say(f"Leaving out a model: {reason}")
    return packaged


def writable_archives(store: Path, folder: Path, say: Say) -> Path:
    """Return the folder for the archives: in the store, or in the folder of this run if the store is read-only."""
    archives = store / torchserve.ARCHIVES
    if os.access(archives if archives.is_dir() else store, os.W_OK | os.X_OK):
        return archives
    say(f"{archives} cannot be written. The archives of this run are in its own folder.")
    return folder / torchserve.ARCHIVES


def write_refused(folder: Path, cards: Iterable[ModelCard]) -> None:
    """Write the names of the models that were left out into a worker's folder."""
    (folder / REFUSED).write_text("".join(f"{card.name}\n" for card in cards), encoding="utf-8")
