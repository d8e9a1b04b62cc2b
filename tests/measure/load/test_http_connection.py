"""Tests of the HTTP client of the load generator."""

import asyncio

import pytest

from service.measure.load import http_connection
from service.measure.load.corpus import CorpusImage
from service.measure.load.http_connection import Address, Connection, ConnectionLostError, Reply
from tests.measure.load.serving import Answer, Server, running

pytestmark = pytest.mark.anyio

REQUEST = http_connection.post("http://127.0.0.1:1/v1/classify?model=m", b"an image", "image/jpeg", {"X-Api-Key": "k"})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000/v1", Address("127.0.0.1", 8000)),
        ("http://[::1]:8000", Address("::1", 8000)),
        ("http://service", Address("service", 80)),
        ("https://service/path", Address("service", 443, tls=True)),
    ],
)
def test_an_address_is_read_from_a_url(url: str, address: Address) -> None:
    assert Address.of(url) == address


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://service", "http://", "unix:/x"])
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(ValueError, match="not an http:// or https:// URL"):
        Address.of(url)


def test_a_request_is_whole_with_its_query_and_headers() -> None:
    head, body = REQUEST.wire.split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/classify?model=m HTTP/1.1"
    expected = {"Host: 127.0.0.1:1", "Content-Type: image/jpeg", "Content-Length: 8", "X-Api-Key: k"}
    assert set(lines[1:]) == expected
    assert body == b"an image"


def test_several_pictures_are_a_form() -> None:
    uploads = [CorpusImage("a.jpg", "image/jpeg", b"first"), CorpusImage("b.jpg", "image/jpeg", b"second")]
    body, media_type = http_connection.form(uploads)
    boundary = media_type.partition("boundary=")[2].encode()
    parts = body.split(b"--" + boundary)
    assert [part.partition(b"\r\n\r\n")[2].strip() for part in parts[1:-1]] == [b"first", b"second"]
    assert parts[-1].strip() == b"--"
    assert all(b'name="file"' in part for part in parts[1:-1])


async def test_many_requests_go_over_one_connection() -> None:
    async with running(Server(lambda number: Answer(body=b"%d" % number))) as server:
        connection = await Connection.open(server.address)
        replies = [await connection.exchange(REQUEST.wire) for _ in range(3)]
        connection.close()
    assert [reply.body for reply in replies] == [b"0", b"1", b"2"]
    assert [body for _, body in server.requests] == [b"an image"] * 3
    assert server.connections == 1


async def test_a_reply_has_its_headers_in_lower_case() -> None:
    async with running(Server(lambda _: Answer(status=503, headers=("Retry-After: 1",)))) as server:
        connection = await Connection.open(server.address)
        reply = await connection.exchange(REQUEST.wire)
        connection.close()
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


async def test_a_connection_that_the_server_closes_is_not_used_again() -> None:
    async with running(Server(lambda _: Answer(headers=("Connection: close",)))) as server:
        connection = await Connection.open(server.address)
        reply = await connection.exchange(REQUEST.wire)
        assert reply.status == 200
        assert not connection.usable
        with pytest.raises(ConnectionLostError):
            await connection.exchange(REQUEST.wire)


async def test_a_connection_that_is_cut_is_told() -> None:
    async with running(Server(lambda _: Answer(cut=True))) as server:
        connection = await Connection.open(server.address)
        with pytest.raises(ConnectionLostError):
            await connection.exchange(REQUEST.wire)


async def test_what_is_no_http_is_told() -> None:
    async with running(Server(lambda _: Answer(raw=b"220 mail ready\r\n"))) as server:
        connection = await Connection.open(server.address)
        with pytest.raises(ConnectionLostError):
            await connection.exchange(REQUEST.wire)


async def test_a_chunked_reply_and_one_before_it_are_read() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with running(Server(lambda _: Answer(raw=early + reply))) as server:
        connection = await Connection.open(server.address)
        found = await connection.exchange(REQUEST.wire)
        connection.close()
    assert (found.status, found.body) == (200, b"abcde")


WHOLE = b"HTTP/1.1 200 OK\r\nServer-Timing: a;dur=1\r\nContent-Length: 5\r\n\r\nabcde"


def talking(loop: asyncio.AbstractEventLoop) -> tuple[Connection, asyncio.Task[Reply]]:
    """Return a connection without a network, and a pending exchange that waits for data from the test."""
    connection = Connection()
    transport = SilentTransport()
    connection.connection_made(transport)
    return connection, loop.create_task(connection.exchange(REQUEST.wire))


class SilentTransport(asyncio.Transport):
    """A transport that sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: object) -> None:
        assert data == REQUEST.wire

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
async def test_a_reply_is_read_wherever_its_packets_end(cut: int) -> None:
    connection, exchange = talking(asyncio.get_running_loop())
    await asyncio.sleep(0)
    connection.data_received(WHOLE[:cut])
    assert not exchange.done()
    connection.data_received(WHOLE[cut:])
    reply = await exchange
    assert (reply.status, reply.headers["server-timing"], reply.body) == (200, "a;dur=1", b"abcde")
    assert connection.usable


@pytest.mark.parametrize("cut", range(len(WHOLE)))
async def test_a_reply_that_ends_in_the_middle_is_a_lost_connection(cut: int) -> None:
    connection, exchange = talking(asyncio.get_running_loop())
    await asyncio.sleep(0)
    connection.data_received(WHOLE[:cut])
    connection.connection_lost(None)
    with pytest.raises(ConnectionLostError):
        await exchange
    assert not connection.usable


async def test_garbage_in_a_chunked_reply_is_a_lost_connection() -> None:
    connection, exchange = talking(asyncio.get_running_loop())
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    connection.data_received(b"no size\r\n")
    with pytest.raises(ConnectionLostError):
        await exchange
    assert not connection.usable


async def test_an_exchange_that_is_given_up_says_so_and_closes() -> None:
    connection, exchange = talking(asyncio.get_running_loop())
    await asyncio.sleep(0)
    connection.give_up()
    with pytest.raises(TimeoutError):
        await exchange
    assert not connection.usable
