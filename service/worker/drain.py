"""`python -m service.worker.drain SECONDS`: tell gateways that this worker will stop, and wait while they go elsewhere.

It is the preStop hook of a pod. Every response then says so. A cluster's name service takes until its records expire.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from service.host import health

FILE = "draining"  # in the worker's folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Mark the worker of this container, and wait. A container without a worker is no error: it then only waits."""
    parser = argparse.ArgumentParser(prog="python -m service.worker.drain", description=main.__doc__)
    parser.add_argument("seconds", type=float)
    seconds = parser.parse_args(arguments).seconds
    if health.worker_folder().is_dir():
        (health.worker_folder() / FILE).touch()
    time.sleep(seconds)


def clear(folder: Path) -> None:
    """Remove the mark that an earlier worker of this container left in the folder."""
    (folder / FILE).unlink(missing_ok=True)


def has_begun() -> bool:
    """Return whether the worker will stop. Its processes have their temporary folder within the worker's."""
    return (Path(tempfile.gettempdir()).parent / FILE).exists()


if __name__ == "__main__":
    main()
