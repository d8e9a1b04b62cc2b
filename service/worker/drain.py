"""Let a worker finish its work before it ends, since TorchServe drops what runs when it is stopped.

`python -m service.worker.drain SECONDS` is the preStop hook of a pod. It tells gateways that this worker will stop, and
waits for its work to end. Every response then says so, and gateways go elsewhere. A gateway that sends nothing learns
it from the cluster's name service, when its records expire. A gateway that shares this host's memory is in the same
pod, and has no other worker. So the hook waits until that has ended.

`python -m service.worker.drain --run COMMAND` runs TorchServe. At SIGTERM it lets the running batches end, and none
begin, and then stops TorchServe. A request that waits loses its connection, and its gateway sends it to another worker.
"""

import argparse
import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from service.host import health
from service.host.processes import Child, stop_signals

FILE = "draining"  # in the worker's folder
STOPPING = "stopping"  # also there: no batch begins any more
BATCHES = "batches"  # also there: each batch in progress holds a shared lock on it
POLL_S = 0.2
CALM_S = 1.0  # without work, before a worker counts as idle: a request may be between two queues

AT_MOST_S: Final = 120.0  # for running batches: the longest deadline of a published card
END_S: Final = 10.0  # for TorchServe to end, once no batch runs; measured: 2.4 s
SEND_S: Final = 0.5  # for TorchServe to send the last response


def main(arguments: Sequence[str] | None = None) -> None:
    """Mark the worker of this container, and wait. A container without a worker is no error: it then only waits."""
    parser = argparse.ArgumentParser(prog="python -m service.worker.drain", description=main.__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=0.0, help="wait so long, until gateways go elsewhere")
    parser.add_argument(
        "--at-most", type=float, default=0.0, metavar="SECONDS", help="so long in all, until no request is left"
    )
    parser.add_argument(
        "--run",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="run this, and let its batches end at SIGTERM",
    )
    options = parser.parse_args(arguments)
    if options.run:
        sys.exit(run(options.run))
    started, folder = time.monotonic(), health.worker_folder()
    if folder.is_dir():
        (folder / FILE).touch()
    time.sleep(options.seconds)
    calm_since = time.monotonic()
    while time.monotonic() - started < options.at_most:
        if has_gateway() or not is_idle(folder):
            calm_since = time.monotonic()
        elif time.monotonic() - calm_since >= CALM_S:
            return
        time.sleep(POLL_S)


def has_gateway() -> bool:
    """Return whether a gateway that is alive has an arena where this worker reads images."""
    from service.tasks import shared_image  # noqa: PLC0415 - takes half a second, and the mark must come first

    return shared_image.has_owner(shared_image.folder(os.environ))


def wrapped(command: Sequence[str]) -> list[str]:
    """Return the command that runs TorchServe's `command`, and stops it only when its running batches have ended.

    It imports this module alone, and takes 12 MB.
    """
    return [sys.executable, "-P", "-m", "service.worker.drain", "--run", *command]


def run(command: Sequence[str], at_most_s: float = AT_MOST_S) -> int:
    """Run TorchServe in the current folder, that of its worker, until it ends or a signal comes. Return its exit code.

    A signal lets running batches end, for `at_most_s` seconds at most. A second one stops TorchServe at once.
    """
    folder = _own_folder()
    with stop_signals() as received:
        server = Child.start(command, os.environ, Path.cwd(), None)
        while server.exit_code is None and not received.to_stop.wait(POLL_S):
            pass
        if server.exit_code is None:
            for mark in (FILE, STOPPING):
                (folder / mark).touch()
            deadline = time.monotonic() + at_most_s
            while computes(folder) and time.monotonic() < deadline and not received.to_hurry.wait(POLL_S / 4):
                pass
            received.to_hurry.wait(SEND_S)
            server.stop(END_S, received.to_hurry.is_set)
    code = server.exit_code or 0
    return code if code >= 0 else 128 - code


def computes(folder: Path) -> bool:
    """Return whether the worker of this folder computes a batch."""
    with (folder / BATCHES).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def is_idle(folder: Path) -> bool:
    """Return whether the worker of this folder computes no batch, and no request waits for one. So does no worker."""
    if not (folder / health.CONFIGURATION).is_file():
        return True
    if computes(folder):
        return False
    management, models = health.read_configuration(folder)
    return not any(health.waiting_requests(management, model) for model in models)


def clear(folder: Path) -> None:
    """Remove the marks that an earlier worker of this container left in the folder."""
    for mark in (FILE, STOPPING):
        (folder / mark).unlink(missing_ok=True)


def has_begun() -> bool:
    """Return whether the worker will stop."""
    return (_own_folder() / FILE).exists()


class BatchMark:
    """Marks the batches of one thread as in progress. The kernel removes the mark if the process ends.

    As a context manager, it marks one batch, and says whether the batch may begin: not once the worker stops. It costs
    three system calls, 1 µs each.
    """

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        if (_own_folder() / health.CONFIGURATION).is_file():  # else no worker, but a test or a notebook
            self._file = (_own_folder() / BATCHES).open("ab")

    def __enter__(self) -> bool:
        if self._file is None:
            return True
        # In this order: what stops the worker makes the file first, and then waits for the lock.
        fcntl.flock(self._file, fcntl.LOCK_SH)
        return not (_own_folder() / STOPPING).exists()

    def __exit__(self, *_error: object) -> None:
        if self._file:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def _own_folder() -> Path:
    """Return the worker's folder, within which its processes have their temporary folder."""
    return Path(tempfile.gettempdir()).parent


if __name__ == "__main__":
    main()
