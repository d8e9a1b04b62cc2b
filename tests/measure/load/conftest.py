"""Fixtures of the load generator's tests."""

import pytest

from service.measure.load import http_connection
from service.measure.load.http_connection import Request


@pytest.fixture
def request_() -> Request:
    """Return a request with a body of a few bytes."""
    return http_connection.post("http://127.0.0.1:1/v1/classify?model=m", b"an image", "image/jpeg", {})
