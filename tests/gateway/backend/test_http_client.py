"""Connections to real servers are reused, but not when they are old or after one broke."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.gateway.backend.http_client import BrokenError, HttpClient, InvalidResponseError, UnreachableError
from service.host.processes import free_port
from tests.gateway.conftest import until

pytestmark = pytest.mark.anyio

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """Writes `answer` to each request, then closes the connection unless it `keeps` it; counts connections."""

    def __init__(self) -> None:
        self.answer = HELLO
        self.keeps = True
        self.hosts: list[str] = []
        self.connections = 0
        self.open = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.hosts += [line[6:] for line in head.decode().split("\r\n") if line.startswith("Host: ")]
                await self.hold.wait()
                writer.write(self.answer)
                if not self.keeps:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def serving(address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[Server, str]]:
    """Yield a server and its URL."""
    server = Server()
    listening = await asyncio.start_server(server.serve, address, port)
    host, number = listening.sockets[0].getsockname()[:2]
    try:
        yield server, f"http://{host}:{number}"
    finally:
        listening.close()
        await left(server, 0)


async def left(server: Server, connections: int) -> None:
    """Wait until at most so many connections are open."""
    await until(lambda: server.open <= connections, 30)


async def test_a_connection_is_used_again() -> None:
    async with serving() as (server, url):
        client = HttpClient(url)
        answers = [await client.exchange("GET", "/") for _ in range(3)]
        await client.close()

    assert answers == [(200, b"hello")] * 3
    assert server.connections == 1


async def test_no_connection_is_used_beyond_its_age() -> None:
    async with serving() as (server, url):
        client = HttpClient(url, age_s=0)
        for _ in range(3):
            await client.exchange("GET", "/")
        await client.close()

    assert server.connections == 3


async def test_a_connection_in_use_outlives_its_age_and_the_doors_end() -> None:
    async with serving() as (server, url):
        client = HttpClient(url, age_s=0)
        server.hold.clear()
        slow = asyncio.create_task(client.exchange("GET", "/"))
        await until(lambda: server.hosts, 30)
        server.hold.set()
        await client.exchange("GET", "/")
        await client.close()

        assert await slow == (200, b"hello")


async def test_after_one_broke_no_other_old_connection_is_used() -> None:
    async with serving() as (server, url):
        client = HttpClient(url)
        await asyncio.gather(*(client.exchange("GET", "/") for _ in range(3)))
        before = server.connections
        server.answer, server.keeps = b"", False
        with pytest.raises(BrokenError):
            await client.exchange("GET", "/")
        server.answer, server.keeps = HELLO, True
        await client.exchange("GET", "/")
        await left(server, 1)
        await client.close()

    assert server.connections == before + 1


async def test_a_pinned_door_goes_to_its_address_under_the_servers_name() -> None:
    port = free_port()
    async with serving("127.0.0.2", port) as (server, _):
        client = HttpClient(f"http://workers.example:{port}", "127.0.0.2")
        assert await client.exchange("GET", "/") == (200, b"hello")
        await client.close()

    assert server.hosts == [f"workers.example:{port}"]


async def test_where_nothing_listens_is_unreachable() -> None:
    client = HttpClient(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError):
        await client.exchange("GET", "/")
    await client.close()


@pytest.mark.parametrize("answer", [b"", HELLO[:-1]], ids=["closed", "cut"])
async def test_a_connection_that_ends_before_its_answer_is_broken(answer: bytes) -> None:
    async with serving() as (server, url):
        server.answer, server.keeps = answer, False
        client = HttpClient(url)
        with pytest.raises(BrokenError):
            await client.exchange("GET", "/")
        await client.close()


async def test_what_is_no_http_is_gibberish() -> None:
    async with serving() as (server, url):
        server.answer = b"SSH-2.0-nonsense\r\n\r\n"
        client = HttpClient(url)
        with pytest.raises(InvalidResponseError):
            await client.exchange("GET", "/")
        await client.close()
