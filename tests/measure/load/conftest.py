"""What the measurements' tests share."""

import pytest

from service.measure.load import wire
from service.measure.load.wire import Request


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The generator runs on uvloop."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def request_() -> Request:
    """A request with a few bytes."""
    return wire.post("http://127.0.0.1:1/v1/classify?model=m", b"picture", "image/jpeg", {})
