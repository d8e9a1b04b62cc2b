"""Runs the gateway processes: one, or several that share a port. A process that ends is restarted after a pause."""

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.host import gateway_slots
from service.host.gateway_slots import GatewaySlot
from service.host.processes import Child, StopSignal, ending, stop_all
from service.host.run_folders import short_folder

COMMAND: Final = (sys.executable, "-m", "service", "gateway")
TICK_S = 0.2
PAUSES_S: Final = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0)  # before each restart of a process that keeps ending
SHARED = "gateways"  # the folder that the processes share
STABLE_S = 60.0  # a process that ran longer begins again with the first pause

log = logging.getLogger(__name__)


class GatewayError(RuntimeError):
    """No gateway process runs, and restarts do not help. The message is one sentence."""


@dataclass
class _Slot:
    """One slot, its process, and how many times in a row the process ended soon after its start."""

    number: int
    child: Child
    started: float
    failures: int = 0
    restart_at: float | None = None  # on the monotonic clock; None while the process runs
    previous_pid: int = 0


class GatewayProcesses:
    """Gateway processes with one environment. They share the folder `shared`, which must not exist yet."""

    def __init__(
        self,
        count: int,
        shared: Path,
        environment: Mapping[str, str],
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare `count` processes that run in `folder`; `clock` returns seconds."""
        self._count = count
        self._shared = shared
        self._folder = folder
        self._environment = environment
        self._clock = clock
        self._slots: list[_Slot] = []
        self._open = ExitStack()
        self._states: gateway_slots.SlotStates | None = None
        self._were_ready = False

    def start(self) -> None:
        """Start all processes, without waiting for any."""
        if self._count > 1:
            gateway_slots.create_folder(self._shared, self._count)
            self._states = self._open.enter_context(gateway_slots.open_states(self._shared))
        for number in range(self._count):
            self._slots.append(_Slot(number, self._start(number, 0), self._clock()))

    @property
    def pids(self) -> list[int]:
        """The process ids of the processes that run."""
        return [slot.child.pid for slot in self._slots if slot.child.exit_code is None]

    @property
    def exit_code(self) -> int | None:
        """The exit code of a process that has ended; None while all run."""
        return next((slot.child.exit_code for slot in self._slots if slot.child.exit_code is not None), None)

    def restart_ended(self) -> None:
        """Restart each process that has ended and whose pause is over. Raises `GatewayError`."""
        for slot in self._slots:
            if slot.restart_at is None and slot.child.exit_code is not None:
                self._record_end(slot)
            if slot.restart_at is not None and self._clock() >= slot.restart_at:
                slot.child = self._start(slot.number, slot.previous_pid)
                slot.started, slot.restart_at = self._clock(), None
        if all(slot.restart_at is not None and slot.failures == len(PAUSES_S) for slot in self._slots):
            raise GatewayError(f"the gateway still ends after {len(PAUSES_S) - 1} restarts")

    def serve(self, stop_signal: StopSignal) -> None:
        """Restart processes that end until asked to stop.

        Raises `GatewayError`, at once where a process ends before all were ready.
        """
        while not stop_signal.to_stop.wait(TICK_S):
            self._were_ready = self._were_ready or self._states is None or self._states.all_ready
            if not self._were_ready and self.exit_code is not None:
                raise GatewayError(f"a gateway process ended with code {self.exit_code} while starting")
            self.restart_ended()

    def stop(self, timeout_s: float, hurry: Callable[[], bool]) -> None:
        """Stop all processes at the same time; each finishes its requests first."""
        stop_all([slot.child for slot in self._slots], timeout_s, hurry)
        self._open.close()

    def _record_end(self, slot: _Slot) -> None:
        ran_s = self._clock() - slot.started
        slot.failures = 1 if ran_s > STABLE_S else min(slot.failures + 1, len(PAUSES_S))
        pause_s = PAUSES_S[slot.failures - 1]
        slot.restart_at = self._clock() + pause_s
        text = f"A gateway process {ending(slot.child.exit_code)}; restarting it in {pause_s:g} s"
        log.warning("%s", text, extra={"exit_code": slot.child.exit_code, "pid": slot.child.pid})
        if self._states is not None:
            self._states.set(slot.number, gateway_slots.EMPTY)
            gateway_slots.remove_gauges(self._shared, slot.child.pid)
            if gateway_slots.has_counters(self._shared, slot.child.pid):
                slot.previous_pid = slot.child.pid

    def _start(self, number: int, previous_pid: int) -> Child:
        slot = GatewaySlot(self._shared, number, self._count, previous_pid).environment if self._count > 1 else {}
        return Child.start(COMMAND, {**self._environment, **slot}, self._folder, output=None)


def serve(count: int, environment: Mapping[str, str], timeout_s: float, stop_signal: StopSignal) -> None:
    """Run `count` gateway processes until asked to stop; then each has `timeout_s` to end. Raises `GatewayError`."""
    with short_folder(tempfile.gettempdir()) as folder:
        gateways = GatewayProcesses(count, folder / SHARED, environment, Path.cwd())
        try:
            gateways.start()
            gateways.serve(stop_signal)
        finally:
            gateways.stop(timeout_s, stop_signal.to_hurry.is_set)
