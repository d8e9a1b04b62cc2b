"""Child processes that leave nothing behind: each leads a group of its own, and ends when its parent does."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from service.host.parent_death import ending_with

POLL_S = 0.05


class Child:
    """A running command. Its group is its own, so that the terminal's Ctrl-C reaches only its parent."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(
        cls, command: Sequence[str], environment: Mapping[str, str], folder: Path, output: IO[bytes] | None
    ) -> Self:
        """Run the command in `folder` with both its outputs to `output`, or to this process's own."""
        process = subprocess.Popen(  # noqa: S603 - a command of ours
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            preexec_fn=ending_with(os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - the supervisor has one thread
        )
        return cls(process)

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        return self._process.poll()

    @property
    def number(self) -> int:
        """Its process id."""
        return self._process.pid

    def stop(self, timeout_s: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Ask it to end; end by force what is left of its group after `timeout_s`, or as soon as `hurry` says so."""
        stop_all([self], timeout_s, hurry)

    def ask_to_end(self) -> None:
        """Send SIGTERM, if it still runs."""
        self._process.terminate()

    def end_by_force(self) -> None:
        """End what is left of its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def stop_all(children: Sequence[Child], timeout_s: float, hurry: Callable[[], bool]) -> None:
    """As `Child.stop`, for several at one time."""
    deadline = time.monotonic() + timeout_s
    for child in children:
        child.ask_to_end()
    while any(child.code is None for child in children) and time.monotonic() < deadline and not hurry():
        time.sleep(POLL_S)
    for child in children:
        child.end_by_force()


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listened on a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int, besides: Container[int] = ()) -> list[int]:
    """So many, each another and none of `besides`, which somebody is about to listen on."""
    found: list[int] = []
    with contextlib.ExitStack() as probes:
        while len(found) < count:
            probe = probes.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port not in besides:
                found.append(port)
    return found
