"""Checks whether a running gateway or TorchServe can answer, with only the standard library."""

import http.client
import json
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

TIMEOUT_S = 3.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(address: str, path: str, timeout_s: float = TIMEOUT_S) -> tuple[int, bytes]:
    """Return status and body of a GET at `http://host:port` or `unix:/path`; status 0 where nothing answers."""
    connection = _connection(address, timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def gateway_is_ready(address: str) -> bool:
    """Return whether the gateway reports that every model can answer now."""
    return get(address, "/readyz")[0] == 200


def has_given_up(inference: str) -> bool:
    """Return whether TorchServe no longer restarts a worker, after 300 s of failures: only then its /ping is a 500."""
    return get(inference, "/ping")[0] == 500


def unready_models(management: str, models: Iterable[str], *, whole: bool = False) -> list[str]:
    """Return the models without a ready worker; with `whole`, those without all their workers ready.

    TorchServe at the address `management` reports them.
    """
    return [name for name in models if not _has_ready_workers(management, name, whole=whole)]


def _has_ready_workers(management: str, model: str, *, whole: bool) -> bool:
    status, body = get(management, f"/models/{model}")
    if status != 200:
        return False
    versions = json.loads(body)
    ready: int = sum(worker["status"] == "READY" for version in versions for worker in version["workers"])
    wanted: int = sum(version["minWorkers"] for version in versions) if whole else 1
    return ready >= wanted


def _connection(address: str, timeout_s: float) -> http.client.HTTPConnection:
    if address.startswith("unix:"):
        return _UnixConnection(address.removeprefix("unix:"), timeout_s)
    parts = urlsplit(address)
    return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
