"""The services that several files of tests share, and the distribution of the tests over processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from service.host.processes import free_port
from tests.e2e.running import Running, running
from tests.laws.sources import ROOT
from tests.stores import write_store

# Files whose tests share a service, by the fixture that starts it. The tests of a folder share the folder's.
SHARED = {
    "service": (
        "test_answers.py",
        "test_contract.py",
        "test_generated_python_client.py",
        "test_inputs.py",
        "test_typescript_client.py",
    ),
    "starters": ("test_page_commands.py", "test_starter_models.py"),
}


class ServiceScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives all tests that share a service to one process, and else all tests of a file."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(super()._split_scope(nodeid))
        shared = next((fixture for fixture, files in SHARED.items() if file.name in files), None)
        if shared and file.parent.name == "e2e":
            return shared
        return str(file.parent if file.parent.parent.name == "e2e" else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ServiceScheduling:
    """Distribute the tests of this folder, where they run alone (`pytest tests/e2e --numprocesses=3`)."""
    return ServiceScheduling(config, log)


@pytest.fixture(scope="session")
def served_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that `service` serves."""
    return write_store(tmp_path_factory.mktemp("served"), "tiny-classifier", "tiny-segmenter")


@pytest.fixture(scope="session")
def service(served_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A ready service of a tiny classifier and a tiny segmenter. Tests do not change it."""
    with running(served_store, tmp_path_factory.mktemp("service"), free_port()) as started:
        started.await_ready()
        yield started


@pytest.fixture(scope="session")
def starters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A ready service of the built-in models. Tests do not change it."""
    with running(ROOT / "model_store", tmp_path_factory.mktemp("starters"), free_port()) as started:
        started.await_ready()
        yield started
        assert started.end() == 0
