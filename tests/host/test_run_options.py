"""What `run` was asked for. `tests/host/test_supervisor.py` tests the checks before a start."""

from pathlib import Path

import pytest

from service.host.run_options import RunOptions


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000"), ("a", "http://a:8000")]
)
def test_the_address_is_one_that_a_client_on_this_host_can_use(host: str, url: str) -> None:
    assert RunOptions(Path(), host=host).address == url
