"""Packages the models of a start, and leaves out those that fail their check.

One damaged file in a store would otherwise stop every model of every worker that starts with this store.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.host.run_folders import locked_folder
from service.host.served_models import model_archive
from service.models.cards import CardError, ModelCard

Say = Callable[[str], None]


@dataclass
class Packaged:
    """The models that TorchServe can load, whose archives are in `archives`, and those that were left out.

    The folder of a loaded card is its archive. `unreadable` are the folders of the store whose cards cannot be used.
    """

    archives: Path
    loaded: list[ModelCard] = field(default_factory=list)
    refused: list[ModelCard] = field(default_factory=list)
    unreadable: frozenset[str] = frozenset()


def package_all(cards: Iterable[ModelCard], archives: Path, say: Say, *, strict: bool) -> Packaged:
    """Write the archive of each model into `archives`. Leave out models that fail their check, and `say` why.

    Raises `CardError` if no model is left, and with `strict` for the first that fails.
    """
    packaged, reasons = Packaged(archives), []
    for card in cards:
        try:
            packaged.loaded.append(package(card, archives))
        except CardError as error:
            if strict:
                raise
            packaged.refused.append(card)
            reasons.append(str(error))
    if not packaged.loaded:
        raise CardError("; ".join(reasons))
    for reason in reasons:
        say(f"Leaving out a model: {reason}")
    return packaged


def package(card: ModelCard, archives: Path) -> ModelCard:
    """Write the archive of a model, and return the card in it. Its server name never changes. Raises `CardError`."""
    folder = model_archive.package(card, archives)
    return card.model_copy(update={"folder": folder, "registered_as": card.server_name})


@contextmanager
def own_archives(store: Path, folder: Path, say: Say) -> Iterator[Path]:
    """Yield a folder for the archives of this run: in the store, or in `folder` if the store is read-only.

    No other run writes there. So a worker process that is restarted loads what it had. It is removed at the end.
    """
    archives = writable_archives(store, folder, say)
    archives.mkdir(exist_ok=True)
    with locked_folder(archives) as own:
        yield own


def writable_archives(store: Path, folder: Path, say: Say) -> Path:
    """Return the folder for the archives: in the store, or in the folder of this run if the store is read-only."""
    archives = store / model_archive.ARCHIVES
    if os.access(archives if archives.is_dir() else store, os.W_OK | os.X_OK):
        return archives
    say(f"{archives} cannot be written. The archives of this run are in its own folder.")
    return folder / model_archive.ARCHIVES
