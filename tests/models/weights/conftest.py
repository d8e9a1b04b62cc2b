"""Shared by the tests of weights: the misbehaving server, and download rules with short timeouts."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.models.weights.download import DownloadRules
from tests.models.weights.checkpoints import State, made_state
from tests.models.weights.misbehaving import Server, serving

HASTY = DownloadRules(
    timeout_s=0.5, rate_window_s=0.3, min_bytes_per_s=1000, attempts=2, backoff_s=0, max_bytes=1 << 27
)


@pytest.fixture
def server() -> Iterator[Server]:
    """Yield a new server for each test."""
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the proxy settings of this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the path for a model store of this test."""
    return tmp_path / "store"


@pytest.fixture(scope="session")
def weights_of() -> State:
    """Return weights of the tiny classifier, shared by all tests: do not change them."""
    return made_state()


def unseen(*_: Any) -> None:
    """Ignore progress and notices."""


def visible(folder: Path) -> dict[str, bytes]:
    """Return the content of every file under a folder by path, without hidden files (locks, partial downloads)."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let writes beyond `limit` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
