"""Fixtures that several folders of tests use."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.config.cores import SLEEPING_THREADS
from tests.stores import write_store


def pytest_configure() -> None:
    """Let idle threads of torch sleep, before a test module loads it, and give engines a cache folder for the tests.

    All processes of one run share the folder, so that each model is compiled once. A shell lets background jobs ignore
    SIGINT, and nohup lets them ignore SIGHUP. The programs that the tests start and interrupt must not inherit that.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    os.environ |= SLEEPING_THREADS | os.environ
    # With its support of forks, gRPC at times aborts the child before it becomes the program that a test starts.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="resnest-tests-")


def pytest_unconfigure() -> None:
    """Remove the cache folder of the engines."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude the modules and the tests from garbage collection.

    Each pass over them takes 0.9 s of a core. The collection of the tests makes 15, and each start of an engine more.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the tiny models with weights. Do not change it: `write_store` makes a new one."""
    return write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def images() -> npt.NDArray[np.uint8]:
    """Return six images, (6, 64, 64, 3): squares of random colours, which the tiny models distinguish."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    return np.kron(colours, np.ones((1, 8, 8, 1), np.uint8))
