"""Gateway processes: one, or several that share a port. One that ends is started again, after ever longer pauses."""

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
from service.host.processes import Child, stop_all
from service.host.run_folders import short_folder
from service.host.signals import StopSignal

COMMAND: Final = (sys.executable, "-m", "service", "gateway")
TICK_S = 0.2
PAUSES_S: Final = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0)  # before each new start of a process that ends again and again
SHARED = "gateways"  # the folder of what they share
LIVED_S = 60.0  # after which an end is not the last one again

Say = Callable[[str], None]


class GatewayError(RuntimeError):
    """No gateway process runs, and starting them again does not help; the message is one sentence."""


@dataclass
class _Post:
    """One seat, who holds it, and how often in a row that ended soon."""

    number: int
    child: Child
    started: float
    failures: int = 0
    due: float | None = None  # when it is started again, by the monotonic clock; None while it runs
    before: int = 0


class GatewayProcesses:
    """So many gateway processes by one environment, and what they share in `shared`, a folder that is not there yet."""

    def __init__(
        self,
        count: int,
        shared: Path,
        environment: Mapping[str, str],
        folder: Path,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """They run in `folder`; `clock` tells seconds."""
        self._count = count
        self._shared = shared
        self._folder = folder
        self._environment = environment
        self._say = say
        self._clock = clock
        self._posts: list[_Post] = []
        self._open = ExitStack()
        self._states: gateway_slots.SlotStates | None = None
        self._were_ready = False

    def start(self) -> None:
        """Start them all; it waits for none."""
        if self._count > 1:
            gateway_slots.lay(self._shared, self._count)
            self._states = self._open.enter_context(gateway_slots.states(self._shared))
        for number in range(self._count):
            self._posts.append(_Post(number, self._start(number, 0), self._clock()))

    @property
    def code(self) -> int | None:
        """The exit code of one that has ended, None while all run."""
        return next((post.child.code for post in self._posts if post.child.code is not None), None)

    def look(self) -> None:
        """Start again what has ended and had its pause. Raises `GatewayError`."""
        for post in self._posts:
            if post.due is None and post.child.code is not None:
                self._note_end(post)
            if post.due is not None and self._clock() >= post.due:
                post.child, post.started, post.due = self._start(post.number, post.before), self._clock(), None
        if all(post.due is not None and post.failures == len(PAUSES_S) for post in self._posts):
            raise GatewayError(f"the gateway does not come back after {len(PAUSES_S) - 1} new starts")

    def serve(self, asked: StopSignal) -> None:
        """Look after them until asked to stop. Raises `GatewayError`, at once where one ends before all were ready."""
        while not asked.to_stop.wait(TICK_S):
            self._were_ready = self._were_ready or self._states is None or self._states.all_ready
            if not self._were_ready and self.code is not None:
                raise GatewayError(f"a gateway process ended with code {self.code} while starting")
            self.look()

    def stop(self, timeout_s: float, hurry: Callable[[], bool]) -> None:
        """End them all at one time; each finishes its requests first."""
        stop_all([post.child for post in self._posts], timeout_s, hurry)
        self._open.close()

    def _note_end(self, post: _Post) -> None:
        lived_s = self._clock() - post.started
        post.failures = 1 if lived_s > LIVED_S else min(post.failures + 1, len(PAUSES_S))
        pause_s = PAUSES_S[post.failures - 1]
        post.due = self._clock() + pause_s
        self._say(f"A gateway process ended with code {post.child.code}; starting it again in {pause_s:g} s")
        if self._states is not None:
            self._states.tell(post.number, gateway_slots.EMPTY)
            gateway_slots.clear(self._shared, post.child.number)
            if gateway_slots.has_counted(self._shared, post.child.number):
                post.before = post.child.number

    def _start(self, number: int, before: int) -> Child:
        seat = GatewaySlot(self._shared, number, self._count, before).environment if self._count > 1 else {}
        return Child.start(COMMAND, {**self._environment, **seat}, self._folder, output=None)


def serve(count: int, environment: Mapping[str, str], timeout_s: float, asked: StopSignal, say: Say) -> None:
    """Run so many gateways until asked to stop; then each has `timeout_s` to end. Raises `GatewayError`."""
    with short_folder(tempfile.gettempdir()) as folder:
        gateways = GatewayProcesses(count, folder / SHARED, environment, Path.cwd(), say)
        try:
            gateways.start()
            gateways.serve(asked)
        finally:
            gateways.stop(timeout_s, asked.to_hurry.is_set)
