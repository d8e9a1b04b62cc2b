"""Fixtures of the tests of measurements."""

import pytest


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run the tests on uvloop, as the load generator does."""
    return "asyncio", {"use_uvloop": True}
