"""A client in front of a function that answers, and a folder of files."""

from collections.abc import Callable

import httpx
import pytest
from resnest_client import Client, RetryPolicy

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def anyio_backend() -> str:
    """Run tests on asyncio."""
    return "asyncio"


@pytest.fixture
def client_of() -> Callable[..., Client]:
    """Return a function that makes a client whose requests the given function answers."""

    def make(answer: Answer, **options: object) -> Client:
        quick = {"retries": RetryPolicy(backoff_s=0.001), **options}
        return Client("http://service/prefix/", http=httpx.Client(transport=httpx.MockTransport(answer)), **quick)  # type: ignore[arg-type]

    return make
