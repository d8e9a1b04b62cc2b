"""The public port and administrators' own, as a process has them."""

import asyncio
import signal

import httpx
import pytest

from service.gateway.settings import Settings
from tests.gateway.conftest import until
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.test_server import drains, free_port, process

pytestmark = pytest.mark.anyio


async def test_metrics_are_at_a_port_of_their_own_while_it_drains_too(settings: Settings, fake: FakeTorchServe) -> None:
    port = free_port()
    async with process(settings, RESNEST_ADMIN_PORT=str(port), RESNEST_DRAIN_S="600") as (running, client):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as inside:
            running.send_signal(signal.SIGTERM)
            await until(lambda: drains(client), 30)
            statuses = {
                door: [(await each.get(path)).status_code for path in ("/livez", "/readyz", "/metrics", "/v1/models")]
                for door, each in (("public", client), ("admin", inside))
            }
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await running.communicate()

    assert statuses == {"public": [200, 503, 404, 200], "admin": [200, 503, 200, 404]}
