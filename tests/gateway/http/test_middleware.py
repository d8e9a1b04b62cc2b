"""The middleware around every request."""

import asyncio
import gc

import httpx
import pytest

from service.gateway.server.protocol import Protocol
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.server.test_uvicorn_server import head

pytestmark = pytest.mark.anyio

PATHS = ["/livez", "/readyz", "/v1/models", "/v1/models/tiny-classifier", "/docs", "/openapi.json", "/problems"]


@pytest.mark.parametrize("sent", ["a", "x" * 64, "Az09._-", "7f000001-0000-4000-8000-000000000000"])
async def test_a_request_id_is_kept_and_told_everywhere(
    sent: str, client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    response = await client.post("/v1/classify", content=image_bytes(), headers={"X-Request-ID": sent})

    assert response.headers["x-request-id"] == response.json()["request_id"] == sent
    assert fake.received[-1] == ("tiny-classifier", sent)


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a\tb", "a;b", "<script>", "a/b", "ä".encode(), b"a\x80"])
async def test_a_request_id_that_is_none_is_replaced(sent: str | bytes, client: httpx.AsyncClient) -> None:
    raw = sent if isinstance(sent, bytes) else sent.encode()

    first = await client.get("/livez", headers=[(b"X-Request-ID", raw)])
    second = await client.get("/livez", headers=[(b"X-Request-ID", raw)])

    ids = {response.headers["x-request-id"] for response in (first, second)}
    assert len(ids) == 2
    assert all(len(each) == 32 and each.isalnum() for each in ids)


@pytest.mark.parametrize("path", [*PATHS, "/metrics", "/nowhere", "/v1/classify"])
async def test_every_response_has_the_headers_that_all_have(path: str, client: httpx.AsyncClient) -> None:
    response = await client.get(path)

    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-request-id"]
    assert "server" not in response.headers


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_answered_wherever_get_is_without_a_body(path: str, client: httpx.AsyncClient) -> None:
    got = await client.get(path)
    head = await client.head(path)

    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(got.content))
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_a_refusal_before_a_small_body_was_read_keeps_the_connection(listening: Running) -> None:
    """Repeated, because on a busy machine a body may not arrive in time."""
    async with listening() as client:
        for _ in range(20):
            refused = await client.post("/v1/classify?top_k=0", content=b"\x89" * 200_000)
            assert refused.status_code == 422
            if "connection" not in refused.headers:
                break
        good = await client.post("/v1/classify", content=image_bytes())
        connections = client._transport._pool.connections  # type: ignore[attr-defined]

        assert "connection" not in refused.headers
        assert good.status_code == 200
        assert len(connections) == 1


def open_one() -> Protocol:
    """Return the server's end of the only open connection."""
    # By `type`: `isinstance` reads every object's `__class__`, and one of torch's objects then warns.
    (found,) = [each for each in gc.get_objects() if type(each) is Protocol and not each.transport.is_closing()]
    return found


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
async def test_a_refusal_of_a_body_that_came_whole_keeps_the_connection_and_not_the_body(
    expects: bytes, listening: Running
) -> None:
    """Otherwise a thousand callers with open connections would hold a thousand bodies in memory."""
    chunked = (
        b"Host: x\r\nTransfer-Encoding: chunked\r\n" + expects + b"\r\n3e8\r\n" + b"\x89" * 1000 + b"\r\n0\r\n\r\n"
    )
    refused = b"POST /v1/classify?top_k=0 HTTP/1.1\r\n" + chunked
    async with listening() as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(refused)
        async with asyncio.timeout(10):
            first = await reader.readuntil(b'"}')
        protocol = open_one()
        kept = len(protocol.cycle.body)
        writer.write(refused + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            others = await reader.readuntil(b"200 OK")
        writer.close()

    assert kept == 0
    assert first.startswith(b"HTTP/1.1 422")
    assert b"422" in others
    assert b"connection" not in (first + others).lower()


async def test_nothing_of_an_answered_upload_is_kept_with_its_connection(listening: Running) -> None:
    async with listening() as client:
        answered = await client.post("/v1/classify", content=image_bytes())
        protocol = open_one()
        await until(lambda: "afterwards" not in protocol.scope["state"])

        assert answered.status_code == 200
        assert len(protocol.cycle.body) == 0


async def test_a_refusal_does_not_wait_for_a_body_that_does_not_come(listening: Running) -> None:
    async with listening() as client:
        request = head("Content-Length: 1000", target="/v1/classify?top_k=0")
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(request + b"\x89")
        async with asyncio.timeout(15):  # the server waits for the rest of the body only after this
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert answer.startswith(b"HTTP/1.1 422")
    assert b"connection: close" in answer.lower()
