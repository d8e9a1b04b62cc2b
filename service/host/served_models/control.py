"""How `models reload` reaches a running service: a Unix socket in the folder of the run, which only its user can open.

The client sends one line of JSON, and gets lines of JSON back: what is said meanwhile, and at last the outcome.
"""

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from service.host import run_folders
from service.host.served_models.reload import ReloadError, ReloadRequest

SOCKET, FACTS = "control", "run.json"
REQUEST_BYTES = 1 << 16
REQUEST_S = 5.0  # for the line of a client to arrive
BUSY = "another reload is in progress; wait for its end"

Say = Callable[[str], None]


@dataclass
class _Client:
    connection: socket.socket
    deadline: float
    received: bytes = b""


class Control:
    """The supervisor's end: it never blocks, takes one request at a time, and refuses others meanwhile."""

    def __init__(self, folder: Path, store: Path, address: str, say: Say) -> None:
        """Listen in the folder of a run that serves this store at this address. `say` gets what clients get."""
        self._say = say
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        self._listener.settimeout(0)
        (folder / FACTS).write_text(json.dumps({"store": str(store.resolve()), "address": address}), encoding="utf-8")
        self._clients: list[_Client] = []
        self._served: socket.socket | None = None

    def poll(self) -> ReloadRequest | None:
        """Return the request of a client whose line has arrived, and serve this client until `finish`."""
        with suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            connection.settimeout(0)
            self._clients.append(_Client(connection, time.monotonic() + REQUEST_S))
        for client in list(self._clients):
            if not _has_line(client):
                continue
            self._clients.remove(client)
            request = _request_of(client)
            if request is not None and self._served is None:
                self._served = client.connection
                return request
            _send(client.connection, {"failure": BUSY if request else "the request is invalid"})
            client.connection.close()
        return None

    def say(self, text: str) -> None:
        """Tell the client what happens."""
        self._say(text)
        if self._served:
            _send(self._served, {"said": text})

    def finish(self, failure: str = "") -> None:
        """Tell the client the outcome: why the models were not changed, or that they were."""
        if failure:
            self._say(f"The models were not reloaded: {failure}")
        if self._served:
            _send(self._served, {"failure": failure})
            self._served.close()
            self._served = None

    def close(self) -> None:
        """Close the socket and all connections."""
        for each in (self._listener, *(client.connection for client in self._clients), self._served):
            if each:
                each.close()


def _has_line(client: _Client) -> bool:
    """Read what has arrived; return whether the line is complete, or will never be."""
    try:
        content = client.connection.recv(REQUEST_BYTES)
    except BlockingIOError:
        return time.monotonic() > client.deadline
    except OSError:
        return True
    client.received += content
    return not content or b"\n" in client.received or len(client.received) > REQUEST_BYTES


def _request_of(client: _Client) -> ReloadRequest | None:
    try:
        content = json.loads(client.received)
        return ReloadRequest(tuple(map(str, content["models"])), bool(content["ignore_memory"]))
    except (ValueError, KeyError, TypeError):
        return None


def _send(connection: socket.socket, message: dict[str, str]) -> None:
    """Send a line. A client that has left, or that does not read, misses it."""
    with suppress(OSError):
        connection.send(json.dumps(message).encode() + b"\n")


def running(store: Path, port: int | None) -> Path:
    """Return the folder of the one service of this user that serves the store, at that port if one is given.

    Raises `ReloadError` if there is none, or more than one.
    """
    found = {folder: address for folder, address in _runs(store) if port in {None, int(address.rpartition(":")[2])}}
    if not found:
        where = "" if port is None else f" at port {port}"
        raise ReloadError(
            f"no ready `resnest-service run` of this user serves {store.resolve()}{where}; name its store with --store"
        )
    if len(found) > 1:
        raise ReloadError(f"several services have this store, at {', '.join(found.values())}; name one with --port")
    return next(iter(found))


def reload(folder: Path, request: ReloadRequest, say: Say) -> None:
    """Ask the service of this folder for a reload, and wait for its end. Raises `ReloadError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(folder / SOCKET))
            connection.sendall(json.dumps(asdict(request)).encode() + b"\n")
            for line in connection.makefile("rb"):
                message = json.loads(line)
                if "said" in message:
                    say(message["said"])
                elif message["failure"]:
                    raise ReloadError(f"nothing was changed: {message['failure']}")
                else:
                    return
        except OSError as error:
            raise ReloadError(f"the service does not answer: {error.strerror}") from error
    raise ReloadError("the service has ended meanwhile")


def _runs(store: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folder and the address of each run of the store that is ready."""
    for parent in dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"))):  # noqa: S108 - as `short_folder` does
        for folder in sorted(parent.glob(f"{run_folders.PREFIX}*")):
            try:
                facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            is_ours = os.getuid() in {0, folder.stat().st_uid}
            if is_ours and run_folders.has_owner(folder) and facts["store"] == str(store.resolve()):
                yield folder, facts["address"]
