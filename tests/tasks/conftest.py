"""Fixtures of the tests of tasks."""

from pathlib import Path

import pytest

from service.models import zoo
from service.models.cards import ModelCard
from tests.stores import write_store


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelCard]:
    """Return the cards of the test models, by name. They have no weights."""
    folder: Path = tmp_path_factory.mktemp("cards")
    return zoo.read_all(write_store(folder, weights=False))
