"""What `run` was asked for, and whether it can be done: keys, traffic shares, and the port."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.config import traffic
from service.config.api_keys import check_exposure
from service.host.health import local_address
from service.models.cards import ModelCard


class StartError(RuntimeError):
    """The service cannot start or cannot continue. The message is one sentence for the operator."""


@dataclass(frozen=True)
class RunOptions:
    """What to serve and where. Without `models`, all models that have their weights are served.

    If no model has a ready worker for `start_timeout_s`, a start has failed, and a running TorchServe is restarted.
    """

    store: Path
    models: tuple[str, ...] = ()
    default_models: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    keys_file: Path | None = None
    allow_no_keys: bool = False
    traffic_file: Path | None = None
    start_timeout_s: float = 180.0
    gateway_workers: int = 1
    strict: bool = False
    cors_origins: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The gateway's URL for a client on this host."""
        return local_address(self.host, self.port)


def is_protected(options: RunOptions) -> bool:
    """Return whether callers need a key or a token."""
    settings = [os.environ.get(name, "").strip() for name in ("RESNEST_KEYS", "RESNEST_JWT_KEYS")]
    return bool(options.keys_file or any(settings))


def require_keys(options: RunOptions) -> None:
    """Raise `KeysError` if other machines could connect without a key and the operator did not allow it."""
    check_exposure(options.host, protected=is_protected(options), waived=options.allow_no_keys)


def require_traffic(options: RunOptions, models: Sequence[ModelCard]) -> None:
    """Raise `TrafficError` if the traffic file cannot be used with these models."""
    if options.traffic_file:
        traffic.read(options.traffic_file, models)


def require_free_port(host: str, port: int) -> None:
    """Raise `StartError` if no socket can listen on this address."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise StartError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port"
        ) from error
