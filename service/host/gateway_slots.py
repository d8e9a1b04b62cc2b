"""The seats of several gateway processes on one host: who sits where, and whether all of them are ready.

They share a folder. The states are one byte a seat in a mapped file, so that telling and asking cost no system call
and a process that is killed over it leaves nothing half written.
"""

import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NUMBER, OF, BEFORE = "RESNEST_SLOT", "RESNEST_SLOTS", "RESNEST_SLOT_BEFORE"
METRICS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported, and keeps its figures there
STATES = "states"
EMPTY, WAITING, READY = range(3)
KINDS: Final = ("counter", "histogram")  # of figures that outlive who counted them


@dataclass(frozen=True)
class GatewaySlot:
    """One process's place among `of`; `before` is the process id of the one that ended there, 0 for the first."""

    folder: Path
    number: int
    of: int
    before: int = 0

    @classmethod
    def taken(cls, environment: Mapping[str, str]) -> "GatewaySlot | None":
        """The seat that a process with this environment was given; None where it is the only one."""
        if NUMBER not in environment:
            return None
        number, of, before = (int(environment[name]) for name in (NUMBER, OF, BEFORE))
        return cls(Path(environment[METRICS]), number, of, before)

    @property
    def environment(self) -> dict[str, str]:
        """What gives this seat to a process."""
        return {NUMBER: str(self.number), OF: str(self.of), BEFORE: str(self.before), METRICS: str(self.folder)}

    def inherit(self) -> None:
        """Go on counting where the process before left off, so that no sum over the processes ever falls."""
        for kind in KINDS:
            left = _figures(self.folder, kind, self.before)
            if left.exists():
                left.rename(_figures(self.folder, kind, os.getpid()))


class SlotStates:
    """Whether each seat is empty, or holds a process that waits for its models, or one that is ready."""

    def __init__(self, states: mmap.mmap) -> None:
        self._states = states

    def tell(self, seat: int, state: int) -> None:
        """Set the state of one seat."""
        self._states[seat] = state

    @property
    def all_ready(self) -> bool:
        """Whether nobody waits. Empty seats do not count: what is left of the processes serves on."""
        return WAITING not in self._states[:]


def lay(folder: Path, seats: int) -> None:
    """Make the folder ready for so many processes, all of which are waited for."""
    folder.mkdir()
    (folder / STATES).write_bytes(bytes([WAITING] * seats))


@contextmanager
def states(folder: Path) -> Iterator[SlotStates]:
    """The states that are kept in a folder that was laid."""
    with (folder / STATES).open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        yield SlotStates(mapped)


def clear(folder: Path, process: int) -> None:
    """Remove what a process that has ended said of itself; what it counted stays in the sums."""
    for gauges in folder.glob(f"gauge_live*_{process}.db"):
        gauges.unlink()


def has_counted(folder: Path, process: int) -> bool:
    """Whether a process came so far as to count something."""
    return any(_figures(folder, kind, process).exists() for kind in KINDS)


def _figures(folder: Path, kind: str, process: int) -> Path:
    return folder / f"{kind}_{process}.db"
