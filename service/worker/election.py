"""Elect the process that loads a model, the leader; the others, its followers, hand it their connections.

TorchServe sends a worker process one batch at a time, so it starts several processes for each engine. The process that
gets the lock is the leader. It has the weights, and serves all connections. A follower sends the leader its connection
to TorchServe, as a file descriptor. It then only waits: TorchServe watches it, and it ends with the leader.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

MANIFEST = Path("MAR-INF", "MANIFEST.json")
RETRY_S = 0.02
JOIN_TIMEOUT_S = 60.0
# Of a leader, which may be stopped. One that loads its model on cores that 40 processes share took more than a second,
# and its followers found no place until TorchServe gave the model up.
ANSWER_TIMEOUT_S = 10.0
ACCEPTED = b"+"


@dataclass(frozen=True)
class Terms:
    """What the archive says of a model's processes.

    There are at most so many `engines` of the model on a device, each with so many `followers`. A batch that takes
    longer than `hang_s` seconds hangs.
    """

    engines: int
    followers: int
    hang_s: float

    @classmethod
    def read(cls, folder: Path) -> "Terms":
        """Return what the manifest in the model's folder says."""
        return cls(**json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["worker"])


@dataclass(frozen=True)
class Leader:
    """The lock that makes this process the leader, and the socket where followers join."""

    lock: TextIOWrapper
    listener: socket.socket


@dataclass(frozen=True)
class Follower:
    """A follower's connection to its leader, which ends when either process ends, and the leader's process id."""

    control: socket.socket
    leader: int


def elect(path: Path, engines: int, connection: socket.socket, timeout_s: float = JOIN_TIMEOUT_S) -> Leader | Follower:
    """Lead one of the `engines`, or hand `connection` to a leader that has a place.

    `path` names the model and its device among the workers of one TorchServe. Raises `TimeoutError` if no leader has a
    place.
    """
    names = [f"{path.name}.{index}" for index in range(engines)]
    places = [(path.with_name(f"{name}.lock"), path.with_name(f"{name}.sock")) for name in names]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for lock, address in places:  # before any leader is asked, who may take seconds to answer
            if leader := _lead(lock, address):
                return leader
        for _, address in places:
            if follower := _join(address, connection):
                return follower
        time.sleep(RETRY_S)
    raise TimeoutError(f"no leader of {path.name} has a place for another worker process")


def welcome(control: socket.socket) -> socket.socket | None:
    """Return the connection to TorchServe that a joining follower sends, None if the follower has ended."""
    try:
        control.sendall(ACCEPTED + str(os.getpid()).encode())
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    except OSError:
        return None
    return socket.socket(fileno=descriptors[0]) if descriptors else None


def wait_for_end(control: socket.socket) -> None:
    """Wait until the process at the other end has ended."""
    try:
        while control.recv(1):
            pass
    except OSError:
        pass


@contextmanager
def _short(address: Path) -> Iterator[str]:
    """Yield another path of a socket, short whatever its folder: the kernel takes 107 bytes."""
    folder = os.open(address.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{address.name}"
    finally:
        os.close(folder)


def _lead(lock_file: Path, address: Path) -> Leader | None:
    """Become the leader if there is none. The lock is released when this process ends, however it ends."""
    lock = lock_file.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    address.unlink(missing_ok=True)  # of a leader that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short(address) as path:
        listener.bind(path)
    listener.listen()
    return Leader(lock, listener)


def _join(address: Path, connection: socket.socket) -> Follower | None:
    """Join the leader if it listens and has a place."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.settimeout(ANSWER_TIMEOUT_S)
    try:
        with _short(address) as path:
            control.connect(path)
        answer = control.recv(32)
        if answer.startswith(ACCEPTED):
            socket.send_fds(control, [b"c"], [connection.fileno()])
            control.settimeout(None)
            return Follower(control, int(answer.removeprefix(ACCEPTED)))
    except OSError:  # it has just ended, or does not listen yet
        pass
    control.close()
    return None
