"""The service of the end-to-end tests, with a detector too."""

from pathlib import Path

import pytest

from tests.e2e.conftest import service
from tests.stores import write_store

__all__ = ["service"]


@pytest.fixture(scope="session")
def served_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store that `service` serves: a tiny model of each task."""
    return write_store(tmp_path_factory.mktemp("served"), "tiny-classifier", "tiny-segmenter", "tiny-detector")
