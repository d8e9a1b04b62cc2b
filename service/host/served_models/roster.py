"""The list of the served models that `run` gives its gateway processes, and their acknowledgements.

The supervisor writes the list, and each gateway process reads it again when it changes. A list has a generation. A
process acknowledges a generation, in a file of its own, with what it still waits for. So the supervisor knows when
every process has a new model ready, and when none uses an old one.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from service.models import atomic_write, cards
from service.models.cards import CardError, ModelCard

VARIABLE = "RESNEST_ROSTER"  # names the file of the list to a gateway process
FILE = "roster.json"


class Entry(BaseModel):
    """A model of the list: its name for callers, its name at the model server, and the folder of its card."""

    name: str
    server_name: str
    folder: Path

    @classmethod
    def of(cls, card: ModelCard) -> Self:
        """Return the entry of a card."""
        return cls(name=card.name, server_name=card.server_name, folder=card.folder.resolve())

    def read(self) -> ModelCard:
        """Return the card under these names. Raises `CardError`."""
        return cards.read(self.folder).model_copy(update={"name": self.name, "registered_as": self.server_name})


class Roster(BaseModel):
    """The models that are `served`, those to make ready (`preparing`), and whether the last reload failed."""

    generation: int = 0
    served: tuple[Entry, ...] = ()
    preparing: tuple[Entry, ...] = ()
    reload_failed: bool = False


class Acknowledgement(BaseModel):
    """What a process waits for in a generation: nothing once `pending` is empty."""

    generation: int
    pending: str


class RosterFile:
    """The file of the list, and beside it a file for the acknowledgement of each process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self.written = Roster()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "RosterFile | None":
        """Return the file that this process was given, or None where another one does not choose the models."""
        return cls(Path(environment[VARIABLE])) if VARIABLE in environment else None

    def write(
        self, served: Iterable[ModelCard], preparing: Iterable[ModelCard] = (), *, reload_failed: bool = False
    ) -> None:
        """Write the next generation."""
        roster = Roster(
            generation=self.written.generation + 1,
            served=tuple(map(Entry.of, served)),
            preparing=tuple(map(Entry.of, preparing)),
            reload_failed=reload_failed,
        )
        atomic_write.write(self.path, roster.model_dump_json().encode())
        self.written = roster

    def read(self) -> Roster:
        """Return the list. Raises `CardError` if it cannot be read."""
        try:
            self._seen = self._state()
            return Roster.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError) as error:
            raise CardError(f"{self.path}, the list of the served models, cannot be read: {error}") from error

    def changed(self) -> bool:
        """Return whether the file is another one than `read` has read."""
        try:
            return self._state() != self._seen
        except OSError:  # the supervisor has ended, and so will this process
            return False

    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Tell the supervisor what this process waits for."""
        atomic_write.write(self._file_of(os.getpid()), acknowledgement.model_dump_json().encode())

    def pending(self, processes: Iterable[int]) -> str:
        """Return what one of these processes waits for in the generation that was written; empty if nothing."""
        for process in processes:
            try:
                found = Acknowledgement.model_validate_json(self._file_of(process).read_bytes())
            except FileNotFoundError:
                return f"gateway process {process} has not started"
            if found.generation != self.written.generation:
                return f"gateway process {process} has not read the new list of models"
            if found.pending:
                return found.pending
        return ""

    def _file_of(self, process: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{process}")

    def _state(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns
