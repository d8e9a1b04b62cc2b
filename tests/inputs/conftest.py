"""The fixtures of a gateway in front of a fake TorchServe, for inputs that come over HTTP."""

from tests.gateway.conftest import (
    anyio_backend,
    client,
    fake,
    listening,
    running,
    served,
    settings,
    short_folder,
    store,
)

__all__ = [
    "anyio_backend",
    "client",
    "fake",
    "listening",
    "running",
    "served",
    "settings",
    "short_folder",
    "store",
]
