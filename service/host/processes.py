"""Child processes that do not outlive their parent, the start and the stop signals of a process, and free ports.

Each child leads its own process group, and the kernel ends it when its parent ends.
"""

import contextlib
import ctypes
import gc
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

POLL_S = 0.05
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class StopSignal:
    """What the received signals ask for: the first one to stop, a second one to stop without waiting."""

    to_stop: threading.Event = field(default_factory=threading.Event)
    to_hurry: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def loading_modules() -> Iterator[None]:
    """Load modules without garbage collection, and exclude what they made from later ones: it lives until the end.

    To look for garbage among them takes a quarter of a second of a core in a worker, and in a gateway.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Record SIGINT, SIGTERM and SIGHUP in a `StopSignal`, in place of an exception."""
    received = StopSignal()

    def record(_number: int, _frame: object) -> None:
        (received.to_hurry if received.to_stop.is_set() else received.to_stop).set()

    previous = {number: signal.signal(number, record) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Child:
    """A running command. It leads its own process group, so the terminal's Ctrl-C reaches only its parent."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(
        cls, command: Sequence[str], environment: Mapping[str, str], folder: Path, output: IO[bytes] | None
    ) -> Self:
        """Run the command in `folder`. Both its outputs go to `output`, or to those of this process."""
        process = subprocess.Popen(  # noqa: S603 - the service's own command
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=parent_death_signal(os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - the supervisor has 1 thread
        )
        return cls(process)

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.poll()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def stop(self, timeout_s: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Send SIGTERM, then kill what is left of the group after `timeout_s`, or as soon as `hurry()` is true."""
        stop_all([self], timeout_s, hurry)

    def terminate(self) -> None:
        """Send SIGTERM, if it still runs."""
        self._process.terminate()

    def kill_group(self) -> None:
        """Kill what is left of its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def ending(code: int | None) -> str:
    """Return how a process with this exit code ended, in words."""
    if code is None or code >= 0:
        return f"ended with code {code}"
    return f"was ended by signal {signal.Signals(-code).name}"


def stop_all(children: Sequence[Child], timeout_s: float, hurry: Callable[[], bool]) -> None:
    """Stop several children at the same time, each as `Child.stop` does."""
    deadline = time.monotonic() + timeout_s
    for child in children:
        child.terminate()
    while any(child.exit_code is None for child in children) and time.monotonic() < deadline and not hurry():
        time.sleep(POLL_S)
    for child in children:
        child.kill_group()


def parent_death_signal(parent: int, number: int) -> Callable[[], None]:
    """Return a function for the child to call: the kernel then sends it signal `number` when `parent` ends."""
    prctl = ctypes.CDLL(None).prctl  # loaded here, because it must not happen between fork and exec

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it ended before the call, and the kernel signals only later ends
            os._exit(1)

    return prepare


def free_port() -> int:
    """Return a TCP port of the loopback interface that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int, excluding: Container[int] = ()) -> list[int]:
    """Return different free TCP ports, none of them in `excluding`: the ports that are about to be used."""
    found: list[int] = []
    with contextlib.ExitStack() as probes:
        while len(found) < count:
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port not in excluding:
                found.append(port)
    return found
