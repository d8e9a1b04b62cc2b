"""HTTP as old clients, proxies and simple tools really speak it."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from service.config.settings import Settings
from service.gateway.app import create_app
from service.gateway.routes.openapi import descriptions
from service.gateway.server.uvicorn_server import Server
from tests.gateway.conftest import Running, app_of, at_the_model, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.routes.test_swagger import rendered

pytestmark = pytest.mark.anyio

PICTURE = image_bytes()
CLOSE = "Connection: close"
LENGTH = f"Content-Length: {len(PICTURE)}"


def request(*headers: str, method: str = "POST", version: str = "1.1", body: bytes = PICTURE) -> bytes:
    return "\r\n".join([f"{method} /v1/classify HTTP/{version}", *headers, "", ""]).encode() + body


Answer = tuple[int, dict[str, object]]


async def answers(client: httpx.AsyncClient, sent: bytes, *, half_close: bool = False) -> list[Answer]:
    """Send everything, and return the status and document of each final response until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(sent)
    if half_close:
        writer.write_eof()
    async with asyncio.timeout(10):
        rest = await reader.read()
    writer.close()
    found = []
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status >= 200:
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            found.append((status, json.loads(rest[:length])))
            rest = rest[length:]
    return found


REFUSED = {
    "HTTP/1.0 without a length": (request(version="1.0"), 411, "length_required"),
    "HTTP/1.0 without a length, with a Host": (request("Host: a", version="1.0"), 411, "length_required"),
    "HTTP/1.0 in chunks": (request("Transfer-Encoding: chunked", version="1.0"), 400, "malformed_request"),
    "no Host": (request(LENGTH), 400, "malformed_request"),
    "two Hosts": (request(LENGTH, "Host: a", "Host: b"), 400, "malformed_request"),
    "two Hosts in HTTP/1.0": (request(LENGTH, "Host: a", "Host: b", version="1.0"), 400, "malformed_request"),
    "two types": (
        request(LENGTH, "Host: a", "Content-Type: image/png", "content-type: a/b"), 400, "malformed_request"),
    "two timeouts": (request(LENGTH, "Host: a", "Request-Timeout: 1", "Request-Timeout: 9"), 400, "malformed_request"),
    "two versions": (request(LENGTH, "Host: a", "X-Model-Version: 1", "X-Model-Version: 2"), 400, "malformed_request"),
    "gzip, chunked": (
        request("Host: a", "Transfer-Encoding: gzip, chunked", body=b"1\r\nx\r\n0\r\n\r\n"), 400, "malformed_request"),
    "gzip and chunked in two lines": (
        request("Host: a", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400,
        "malformed_request"),
    "chunked twice": (
        request("Host: a", "Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400, "malformed_request"),
    "a length and chunks": (
        request("Host: a", LENGTH, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400, "malformed_request"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_a_head_that_breaks_http_is_refused_by_name(listening: Running, case: str) -> None:
    sent, status, code = REFUSED[case]
    async with listening() as client:
        ((found, document),) = await answers(client, sent)
    assert (found, document["code"]) == (status, code)


ANSWERED = {
    "HTTP/1.0 with a length": request(LENGTH, version="1.0"),
    "HTTP/1.1": request("Host: a", CLOSE, LENGTH),
    "an empty Host": request("Host:", CLOSE, LENGTH),
    "chunked in capitals": request(
        "Host: a", CLOSE, "Transfer-Encoding: Chunked", body=b"%x\r\n" % len(PICTURE) + PICTURE + b"\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("case", ANSWERED)
async def test_a_head_that_is_unusual_but_right_is_answered(listening: Running, case: str) -> None:
    async with listening() as client:
        ((found, _),) = await answers(client, ANSWERED[case])
    assert found == 200


@pytest.mark.parametrize("count", [1, 3])
async def test_a_client_that_closes_its_sending_side_gets_its_answers(listening: Running, count: int) -> None:
    async with listening() as client:
        found = await answers(client, request("Host: a", LENGTH) * count, half_close=True)
    assert [status for status, _ in found] == [200] * count


async def test_a_client_that_is_gone_is_still_noticed(listening: Running, fake: FakeTorchServe) -> None:
    fake.behaviour = "slow"
    async with listening() as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(request("Host: a", LENGTH))
        await until(lambda: fake.waiting)
        writer.close()
        await until(lambda: at_the_model(client) == 0)
        fake.release.set()


@pytest.mark.parametrize("cut", [20, 120])
async def test_half_a_request_of_a_client_that_closed_gets_no_answer(listening: Running, cut: int) -> None:
    async with listening() as client:
        assert await answers(client, request("Host: a", LENGTH)[:cut], half_close=True) == []


async def test_an_idle_connection_says_until_when_it_may_be_used(listening: Running) -> None:
    async with listening(keep_alive_s=30) as client:
        response = await client.get("/livez")
    assert response.headers["keep-alive"] == "timeout=25"


@asynccontextmanager
async def on_all_addresses(settings: Settings) -> AsyncIterator[int]:
    """Run a gateway at `::` and a free port, and yield the port."""
    changed = settings.model_copy(update={"host": "::", "port": 0})
    server = Server(create_app(changed), changed)
    sockets = server.sockets()
    assert sockets is not None
    task = asyncio.create_task(server.serve(sockets=sockets))
    await until(lambda: server.started or task.done())
    try:
        yield sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
async def test_the_host_of_two_colons_means_both_families(settings: Settings, address: str) -> None:
    async with on_all_addresses(settings) as port, httpx.AsyncClient() as client:
        assert (await client.get(f"http://{address}:{port}/livez")).status_code == 200


async def test_behind_a_proxy_that_takes_a_path_away_all_links_stay_behind_it(client: httpx.AsyncClient) -> None:
    assert "URL/docs" in (await client.get("/", headers={"X-Forwarded-For": "192.0.2.1"})).text
    assert (await client.get("/openapi.json")).json()["servers"] == [{"url": "."}]
    for page in ("/docs", "/problems"):
        text = (await client.get(page)).text
        assert not any(f"{attribute}={quote}/" in text for attribute in ("href", "src") for quote in "'\"")


@asynccontextmanager
async def proxy_under_a_path(gateway: httpx.AsyncClient) -> AsyncIterator[str]:
    """Serve the gateway under /vision/ as a proxy that takes this path away, and yield the URL."""

    async def forward(request: web.Request) -> web.Response:
        answer = await gateway.get("/" + request.match_info["rest"])
        headers = {
            name: answer.headers[name] for name in ("location", "content-security-policy") if name in answer.headers
        }
        kind = answer.headers.get("content-type", "text/plain").partition(";")[0]
        return web.Response(status=answer.status_code, body=answer.content, content_type=kind, headers=headers)

    app = web.Application()
    app.router.add_get("/vision/{rest:.*}", forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/vision/"
    finally:
        await runner.cleanup()


async def test_a_browser_that_opens_it_behind_such_a_proxy_shows_every_operation(
    listening: Running, tmp_path: Path
) -> None:
    async with listening() as gateway, proxy_under_a_path(gateway) as url:
        page, _ = await rendered(f"{url}docs", tmp_path)
    shown = {(path, method) for method, path in re.findall(r'opblock-(get|post)".*?data-path="([^"]+)"', page)}
    assert shown == set(descriptions())


async def test_the_description_says_whether_a_key_is_needed(running: Running, client: httpx.AsyncClient) -> None:
    keys: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}]
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert paths["/v1/classify"]["post"]["security"] == [*keys, {}]
    assert {"security"} & {
        *paths["/livez"]["get"],
        *paths["/readyz"]["get"],
        *paths["/v2/health/ready"]["get"],
    } == set()
    async with running(keys="caller classify " + "0" * 64) as strict:
        paths = app_of(strict).openapi()["paths"]
    assert paths["/v1/classify"]["post"]["security"] == keys
