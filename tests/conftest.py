"""What several parts of the specification are told with."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.config.cores import SLEEPING_THREADS
from tests.stores import write_store


def pytest_configure() -> None:
    """Before a test module loads torch: its idle threads sleep, and what engines keep on disk goes with the tests."""
    os.environ |= SLEEPING_THREADS | os.environ | {"XDG_CACHE_HOME": tempfile.mkdtemp(prefix="resnest-tests-")}


def pytest_unconfigure() -> None:
    """Remove what the engines kept."""
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the tiny models with their weights. Read it only; `write_store` makes one to change."""
    return write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def pictures() -> npt.NDArray[np.uint8]:
    """Six pictures of 64 px, (6, 64, 64, 3): squares of random colours, which the tiny models tell apart."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    return np.kron(colours, np.ones((1, 8, 8, 1), np.uint8))
