"""The worker process, which TorchServe starts in place of its own program, with the same arguments.

It loads the model and serves batches as the leader, or hands its connection to the leader (`service.worker.election`).
A follower never imports torch, so it has 16 MB of memory instead of 250.
"""

import argparse
import importlib
import os
import socket
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from service.worker import election, messages
from service.worker.election import Leader, Terms
from service.worker.guard import Announce
from service.worker.messages import LoadMessage

CONNECT_TIMEOUT_S = 30.0


def main(arguments: Sequence[str] | None = None, announce: Announce = lambda *_: None) -> None:
    """Serve as a worker process until TorchServe or the leader ends. `announce` gets model, role and connection."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sock-type", choices=["unix"], required=True)
    parser.add_argument("--sock-name", type=Path, required=True)
    parser.add_argument("--metrics-config")
    address: Path = parser.parse_args(arguments).sock_name
    connection = accept(address)
    stream = connection.makefile("rb")
    try:
        load = messages.read(stream)
    except EOFError:
        sys.exit(0)
    if not isinstance(load, LoadMessage):
        raise TypeError("TorchServe sent a batch before a model")
    terms = Terms.read(Path(load.folder))
    elected = election.elect(address.with_name(_short_name(load)), terms.engines, connection)
    announce(load.model, "leader" if isinstance(elected, Leader) else "follower", connection)
    if isinstance(elected, Leader):
        importlib.import_module("service.worker.leader").lead(elected, connection, stream, load, terms)
    else:
        say(f"[PID]{elected.leader}")  # the management API then names the leader, and the gateway counts leaders
        stream.close()
        connection.close()
        election.wait_for_end(elected.control)
        sys.exit(1)


def accept(address: Path, timeout_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
    """Listen at `address`, say so in the words that TorchServe waits for, and return its connection."""
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(address))
        listener.listen(1)
        say(f"[PID]{os.getpid()}")
        say("Torch worker started.")
        listener.settimeout(timeout_s)
        connection, _ = listener.accept()
    connection.settimeout(None)
    return connection


def say(line: str) -> None:
    """Write a line to standard output, which TorchServe reads."""
    print(line, flush=True)  # noqa: T201


def _short_name(load: LoadMessage) -> str:
    """Return a name for the model and its device, of 12 characters or little more: socket paths have at most 107."""
    return f".{zlib.crc32(load.model.encode()):08x}.{'c' if load.gpu is None else load.gpu}"
