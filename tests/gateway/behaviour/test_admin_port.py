"""The public port and the admin port of a gateway process."""

import asyncio
import signal
import socket
from contextlib import ExitStack

import httpx
import pytest

from service.config.settings import Settings
from service.gateway.app import create_app
from service.gateway.server.uvicorn_server import Server
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.server.test_uvicorn_server import drains, free_port, process

pytestmark = pytest.mark.anyio


async def test_metrics_are_at_a_port_of_their_own_while_it_drains_too(settings: Settings, fake: FakeTorchServe) -> None:
    port = free_port()
    async with process(settings, RESNEST_ADMIN_PORT=str(port), RESNEST_DRAIN_S="600") as (running, client):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as inside:
            running.send_signal(signal.SIGTERM)
            await until(lambda: drains(client), 30)
            statuses = {
                name: [(await each.get(path)).status_code for path in ("/livez", "/readyz", "/metrics", "/v1/models")]
                for name, each in (("public", client), ("admin", inside))
            }
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await running.communicate()

    assert statuses == {"public": [200, 503, 404, 200], "admin": [200, 503, 200, 404]}


async def test_processes_share_both_doors_with_each_other_alone(settings: Settings) -> None:
    public, admin = free_port(), free_port()
    changed = settings.model_copy(update={"port": public, "admin_port": admin})
    servers = [Server(create_app(changed), changed) for _ in range(2)]
    with ExitStack() as opened:
        sockets = [opened.enter_context(each) for server in servers for each in server.sockets(shared=True) or ()]
        for listener in sockets:
            listener.listen()
        assert [listener.getsockname()[1] for listener in sockets] == [public, admin, public, admin]
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", admin))
