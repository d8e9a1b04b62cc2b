"""When the head and the body of a response are sent."""

import asyncio
from collections.abc import Iterable

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.gateway.server.coalesced_writes import CoalescedWriter
from tests.gateway.conftest import Running, until

pytestmark = pytest.mark.anyio


class Packets(asyncio.Transport):
    """A transport that records each write as one packet, and passes it on to another transport if there is one."""

    to: asyncio.Transport | None = None

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.sent.append(bytes(data))
        if self.to is not None:
            self.to.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = self.to is None
        if self.to is not None:
            self.to.close()


@pytest.fixture
def packets() -> Packets:
    """A recording transport."""
    return Packets()


@pytest.fixture
async def writer(packets: Packets) -> CoalescedWriter:
    """A writer to the recording transport."""
    return CoalescedWriter(packets, asyncio.get_running_loop())


async def test_an_answers_head_leaves_with_its_body(packets: Packets, writer: CoalescedWriter) -> None:
    writer.write(b"head ")
    writer.write(b"body")
    await asyncio.sleep(0)

    assert packets.sent == [b"head body"]


async def test_a_head_whose_body_takes_longer_does_not_wait_for_it(packets: Packets, writer: CoalescedWriter) -> None:
    writer.write(b"head")
    writer.write(b"")  # of a response to HEAD
    await asyncio.sleep(0)
    writer.write(b"body")
    await asyncio.sleep(0)

    assert packets.sent == [b"head", b"body"]


async def test_what_is_written_last_is_sent_before_the_connection_closes(
    packets: Packets, writer: CoalescedWriter
) -> None:
    writer.write(b"head")
    writer.close()
    await asyncio.sleep(0)

    assert packets.sent == [b"head"]
    assert writer.is_closing()


async def test_what_has_nothing_behind_it_need_not_wait(packets: Packets, writer: CoalescedWriter) -> None:
    writer.write(b"head")
    writer.flush()

    assert packets.sent == [b"head"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_answer_is_one_packet_that_is_sent_by_the_time_it_is_complete(
    method: str, listening: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = Packets()
    sent_before_end: list[int] = []
    complete = HttpToolsProtocol.on_response_complete

    def recorded(protocol: HttpToolsProtocol) -> None:
        sent_before_end.append(len(packets.sent))
        complete(protocol)

    class Copied(CoalescedWriter):
        def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
            packets.to = transport
            super().__init__(packets, loop)

    monkeypatch.setattr("service.gateway.server.protocol.CoalescedWriter", Copied)
    monkeypatch.setattr(HttpToolsProtocol, "on_response_complete", recorded)
    async with listening() as client:
        packets.sent.clear()
        sent_before_end.clear()
        response = await client.request(method, "/livez")

    assert response.status_code == 200
    assert sent_before_end == [1]
    assert packets.sent[0].startswith(b"HTTP/1.1 200 OK")
    assert packets.sent[0].endswith(b"\r\n\r\n" + response.content)


async def test_nothing_is_sent_to_a_connection_that_closed_meanwhile(packets: Packets, writer: CoalescedWriter) -> None:
    writer.write(b"head")
    packets.close()
    await asyncio.sleep(0)

    assert packets.sent == []


class Full(Packets):
    """A transport whose client has not read `left` bytes."""

    left = 3

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.closed = True


async def test_a_client_that_takes_little_by_little_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gateway.server.coalesced_writes.UNREAD_S", 0.01)
    full = Full()
    writer = CoalescedWriter(full, asyncio.get_running_loop())
    writer.start_read_timer()
    seen = []
    while not full.closed:
        seen.append(full.left)
        full.left = max(1, full.left - 1)
        timer = writer._read_timer
        await until(lambda timer=timer: writer._read_timer is not timer or full.closed)  # type: ignore[misc]

    assert seen == [3, 2, 1]


async def test_a_client_that_took_all_has_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gateway.server.coalesced_writes.UNREAD_S", 0)
    full = Full()
    writer = CoalescedWriter(full, asyncio.get_running_loop())
    writer.start_read_timer()
    writer.stop_read_timer()
    await asyncio.sleep(0.01)

    assert not full.closed
