"""What the tests of weights share: the misbehaving server, and rules that do not wait long."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.models.weights.download import Rules
from tests.models.weights.checkpoints import State, made_state
from tests.models.weights.misbehaving import Server, serving

HASTY = Rules(silence_s=0.5, window_s=0.3, slowest=1000, rounds=2, pause_s=0, max_bytes=1 << 27)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own for each test."""
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine has, the tests do not go through it."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a store of the test's own is to be."""
    return tmp_path / "store"


@pytest.fixture(scope="session")
def weights_of() -> State:
    """Weights of the tiny classifier, the same for all; not to be changed."""
    return made_state()


def unseen(*_: Any) -> None:
    """Progress and notices that nobody looks at."""


def visible(folder: Path) -> dict[str, bytes]:
    """Every file under a folder by its path, but for what is hidden: a lock, and a download to be continued."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Writing beyond `limit` bytes of a file fails, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
