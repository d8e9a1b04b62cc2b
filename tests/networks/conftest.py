"""Fixtures of the network tests."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.networks import timm_alone


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: on a busy machine waiting for a second thread costs up to ten times what it gains."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def timm() -> Any:
    """Return the timm package, with or without torchvision."""
    return timm_alone.load()
