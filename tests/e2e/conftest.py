"""One service for all tests that do not change it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.host.processes import free_port
from tests.e2e.running import Running, running
from tests.stores import write_store


@pytest.fixture(scope="session")
def served_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that `service` serves."""
    return write_store(tmp_path_factory.mktemp("served"), "tiny-classifier", "tiny-segmenter")


@pytest.fixture(scope="session")
def service(served_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A ready service of a tiny classifier and a tiny segmenter."""
    with running(served_store, tmp_path_factory.mktemp("service"), free_port()) as started:
        started.await_ready()
        yield started
