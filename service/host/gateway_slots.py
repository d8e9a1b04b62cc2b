"""The slots of several gateway processes on one host: which process has which slot, and whether all are ready.

The processes share a folder. Each slot's state is one byte in a memory-mapped file. So reading and writing it costs no
system call, and a process that is killed leaves no half-written state.
"""

import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NUMBER, COUNT, PREVIOUS = "RESNEST_SLOT", "RESNEST_SLOTS", "RESNEST_SLOT_BEFORE"
METRICS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when it is imported, and writes its files there
STATES = "states"
EMPTY, WAITING, READY = range(3)
CUMULATIVE: Final = ("counter", "histogram")  # the metrics that outlive the process that counted them


@dataclass(frozen=True)
class GatewaySlot:
    """One process's slot of `count`. `previous_pid` is the process that ended in this slot, 0 for the first one."""

    folder: Path
    number: int
    count: int
    previous_pid: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "GatewaySlot | None":
        """Return the slot that a process with this environment was given; None where it is the only process."""
        if NUMBER not in environment:
            return None
        number, count, previous_pid = (int(environment[name]) for name in (NUMBER, COUNT, PREVIOUS))
        return cls(Path(environment[METRICS]), number, count, previous_pid)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that give this slot to a process."""
        return {
            NUMBER: str(self.number),
            COUNT: str(self.count),
            PREVIOUS: str(self.previous_pid),
            METRICS: str(self.folder),
        }

    def inherit_counters(self) -> None:
        """Continue the counters of the previous process, so that no sum over the processes ever falls."""
        for kind in CUMULATIVE:
            inherited = _metrics_file(self.folder, kind, self.previous_pid)
            if inherited.exists():
                inherited.rename(_metrics_file(self.folder, kind, os.getpid()))


class SlotStates:
    """The state of each slot: empty, with a process that waits for its models, or with a ready process."""

    def __init__(self, states: mmap.mmap) -> None:
        self._states = states

    def set(self, slot: int, state: int) -> None:
        """Set the state of one slot."""
        self._states[slot] = state

    @property
    def all_ready(self) -> bool:
        """Whether no process waits for its models. Empty slots do not count: the other processes still serve."""
        return WAITING not in self._states[:]


class SharedReadiness:
    """The readiness of one gateway process, shared with the processes in the other slots.

    The other processes keep serving while a replacement starts, and the instance stays ready. So a replacement does
    not report that it waits for its models before `finish_start`.
    """

    def __init__(self, slot: GatewaySlot | None = None, states: SlotStates | None = None) -> None:
        """Share the readiness through `states`; without a slot the process is the only one."""
        self._slot = slot
        self._states = states
        self.is_replacement = slot is not None and slot.previous_pid != 0
        self._is_starting = self.is_replacement
        self.is_first = slot is None or slot.number == 0
        self.metrics_folder = slot.folder if slot is not None else None  # with the metrics of all processes

    @property
    def all_ready(self) -> bool:
        """Whether no process waits for its models."""
        return self._states is None or self._states.all_ready

    def report(self, *, ready: bool) -> None:
        """Report to the other processes whether this process's models are ready."""
        if ready or not self._is_starting:
            self._set(READY if ready else WAITING)

    def finish_start(self) -> None:
        """From now on, report this process as waiting whenever its models are not ready."""
        self._is_starting = False

    def leave(self) -> None:
        """Mark the slot as empty: this process is about to end."""
        self._set(EMPTY)

    def _set(self, state: int) -> None:
        if self._slot is not None and self._states is not None:
            self._states.set(self._slot.number, state)


SINGLE_PROCESS = SharedReadiness()


def create_folder(folder: Path, slots: int) -> None:
    """Create the shared folder for this many processes, each in the state `WAITING`."""
    folder.mkdir()
    (folder / STATES).write_bytes(bytes([WAITING] * slots))


@contextmanager
def open_states(folder: Path) -> Iterator[SlotStates]:
    """Map the states in a folder that `create_folder` made."""
    with (folder / STATES).open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        yield SlotStates(mapped)


def remove_gauges(folder: Path, process: int) -> None:
    """Remove the gauges of a process that has ended; its counters stay in the sums."""
    for gauges in folder.glob(f"gauge_live*_{process}.db"):
        gauges.unlink()


def has_counters(folder: Path, process: int) -> bool:
    """Return whether a process has counted anything."""
    return any(_metrics_file(folder, kind, process).exists() for kind in CUMULATIVE)


def _metrics_file(folder: Path, kind: str, process: int) -> Path:
    return folder / f"{kind}_{process}.db"
