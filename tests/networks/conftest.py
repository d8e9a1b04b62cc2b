"""What the networks' tests share."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.networks import timm_alone


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """These networks are small: on a busy machine waiting for the second thread costs up to ten times its gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def timm() -> Any:
    """The timm package, with or without torchvision."""
    return timm_alone.load()
