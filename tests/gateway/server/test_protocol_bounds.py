"""How long a useless connection stays open, and how many requests one client may pipeline."""

import asyncio
import logging
import socket
import struct

import pytest

from service.gateway.server import protocol
from service.gateway.server.protocol import MAX_QUEUED
from service.measure.load.http_connection import post
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.full_gateway import server_end
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "sent", [b"PRI * HTTP/2.0\r\n\r\n", b"\r\n\r\n"], ids=["another version's preface", "line ends"]
)
async def test_what_never_becomes_a_request_is_closed_in_time_behind_one_too(sent: bytes, listening: Running) -> None:
    async with listening(header_timeout_s=0.5) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 200 OK\r\n"
        writer.write(sent)
        await asyncio.wait_for(reader.read(), 10)  # until the server closes
        writer.close()


async def test_of_requests_sent_without_waiting_a_bounded_number_is_answered_and_the_last_says_so(
    listening: Running,
) -> None:
    async with listening() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n" * 100)
        received = await asyncio.wait_for(reader.read(), 10)  # until the server closes
        writer.close()
        assert (await client.get("/livez")).status_code == 200

    answers = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(answers) == 1 + MAX_QUEUED
    assert [b"connection: close" in each for each in answers] == [False] * MAX_QUEUED + [True]


async def test_what_is_no_request_does_not_cost_the_one_before_it_its_answer(
    listening: Running, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    async with listening() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(post("http://gateway/v1/classify", image_bytes(), "image/png", {}).wire)
        await until(lambda: fake.waiting)
        writer.write(b"\x00 nonsense\r\n\r\n")
        await until(lambda: server_end(writer)._rejected)
        fake.release.set()
        received = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.count(b"HTTP/1.1") == 1


async def test_who_reads_to_the_end_has_a_refusal_at_once_and_may_still_send(
    listening: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 60)
    async with listening() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"POST /v1/classify HTTP/1.0\r\n\r\n")
        received = await asyncio.wait_for(reader.read(), 10)
        for _ in range(20):
            writer.write(bytes(65_536))
            await writer.drain()
        is_open = not server_end(writer).transport.is_closing()
        writer.close()
        await writer.wait_closed()  # a reset would be an error

    assert received.startswith(b"HTTP/1.1 411")
    assert is_open


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": each}) for each in (False, True)])
@pytest.mark.usefixtures("anyio_backend")
async def test_a_refusal_within_a_body_that_the_application_waits_for_ends_the_connection_in_time(
    listening: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Uvicorn then wants to write `100 Continue` behind the problem."""
    monkeypatch.setattr(protocol, "LINGER_S", 1)
    async with listening() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        head = "POST /v1/classify HTTP/1.1\r\nHost: gateway\r\nContent-Type: image/png\r\nExpect: 100-continue\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\nZZ\r\n".encode())
        received = await asyncio.wait_for(reader.read(), 10)
        end = server_end(writer)
        await until(lambda: end.parser is None)
        writer.close()

    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1 ") == 1
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_a_connection_that_was_reset_leaves_no_clock(listening: Running) -> None:
    async with listening() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: gateway\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        end = server_end(writer)
        assert end.timeout_keep_alive_task is not None
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await until(lambda: end.parser is None)

        assert end.timeout_keep_alive_task is None


async def test_a_client_that_reads_nothing_is_not_waited_for_without_end(
    listening: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gateway.server.coalesced_writes.UNREAD_S", 0.2)
    async with listening() as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port, limit=1024)
        end = server_end(writer)
        while not end.transport.is_closing():
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n")
            await asyncio.sleep(0.01)
        writer.close()
        assert (await client.get("/livez")).status_code == 200
