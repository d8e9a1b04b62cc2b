"""`python -m service.worker.drain SECONDS`: tell gateways that this worker will stop, and wait for its work to end.

It is the preStop hook of a pod. Every response then says so, and gateways go elsewhere. A gateway that sends nothing
learns it from the cluster's name service, when its records expire. TorchServe drops what runs when it is stopped.
"""

import argparse
import fcntl
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from service.host import health

FILE = "draining"  # in the worker's folder
BATCHES = "batches"  # also there: each batch in progress holds a shared lock on it
POLL_S = 0.2
CALM_S = 1.0  # without work, before a worker counts as idle: a request may be between two queues


def main(arguments: Sequence[str] | None = None) -> None:
    """Mark the worker of this container, and wait. A container without a worker is no error: it then only waits."""
    parser = argparse.ArgumentParser(prog="python -m service.worker.drain", description=main.__doc__)
    parser.add_argument("seconds", type=float, help="wait so long, for gateways to go elsewhere")
    parser.add_argument(
        "--at-most", type=float, default=0.0, metavar="SECONDS", help="so long in all, until no request is left"
    )
    options = parser.parse_args(arguments)
    started, folder = time.monotonic(), health.worker_folder()
    if folder.is_dir():
        (folder / FILE).touch()
    time.sleep(options.seconds)
    calm_since = time.monotonic()
    while time.monotonic() - started < options.at_most:
        if not is_idle(folder):
            calm_since = time.monotonic()
        elif time.monotonic() - calm_since >= CALM_S:
            return
        time.sleep(POLL_S)


def is_idle(folder: Path) -> bool:
    """Return whether the worker of this folder computes no batch, and no request waits for one. So does no worker."""
    if not (folder / health.CONFIGURATION).is_file():
        return True
    with (folder / BATCHES).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    management, models = health.read_configuration(folder)
    return not any(health.waiting_requests(management, model) for model in models)


def clear(folder: Path) -> None:
    """Remove the mark that an earlier worker of this container left in the folder."""
    (folder / FILE).unlink(missing_ok=True)


def has_begun() -> bool:
    """Return whether the worker will stop."""
    return (_own_folder() / FILE).exists()


class BatchMark:
    """Marks the batches of one thread as in progress. The kernel removes the mark if the process ends.

    As a context manager, it marks one batch. It costs two system calls, 1 µs each.
    """

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        if (_own_folder() / health.CONFIGURATION).is_file():  # else no worker, but a test or a notebook
            self._file = (_own_folder() / BATCHES).open("ab")

    def __enter__(self) -> None:
        if self._file:
            fcntl.flock(self._file, fcntl.LOCK_SH)

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
