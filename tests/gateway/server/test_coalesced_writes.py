"""An answer's head and body, and when they are sent."""

import asyncio
from collections.abc import Iterable

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.gateway.server.coalesced_writes import CoalescedWriter
from tests.gateway.conftest import Running, until

pytestmark = pytest.mark.anyio


class Packets(asyncio.Transport):
    """What is sent at once, each as one; to another transport, too, where there is one."""

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
        self.closed = self.to is None  # which is for one connection then
        if self.to is not None:
            self.to.close()


@pytest.fixture
def packets() -> Packets:
    """What is sent."""
    return Packets()


@pytest.fixture
async def together(packets: Packets) -> CoalescedWriter:
    """A connection over which it is."""
    return CoalescedWriter(packets, asyncio.get_running_loop())


async def test_an_answers_head_leaves_with_its_body(packets: Packets, together: CoalescedWriter) -> None:
    together.write(b"head ")
    together.write(b"body")
    await asyncio.sleep(0)

    assert packets.sent == [b"head body"]


async def test_a_head_whose_body_takes_longer_does_not_wait_for_it(packets: Packets, together: CoalescedWriter) -> None:
    together.write(b"head")
    together.write(b"")  # of an answer to HEAD
    await asyncio.sleep(0)
    together.write(b"body")
    await asyncio.sleep(0)

    assert packets.sent == [b"head", b"body"]


async def test_what_is_written_last_is_sent_before_the_connection_closes(
    packets: Packets, together: CoalescedWriter
) -> None:
    together.write(b"head")
    together.close()
    await asyncio.sleep(0)

    assert packets.sent == [b"head"]
    assert together.is_closing()


async def test_what_has_nothing_behind_it_need_not_wait(packets: Packets, together: CoalescedWriter) -> None:
    together.write(b"head")
    together.flush()

    assert packets.sent == [b"head"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_answer_is_one_packet_that_is_sent_by_the_time_it_is_complete(
    method: str, listening: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = Packets()
    sent_by_then: list[int] = []
    complete = HttpToolsProtocol.on_response_complete

    def noted(protocol: HttpToolsProtocol) -> None:
        sent_by_then.append(len(packets.sent))
        complete(protocol)

    class Copied(CoalescedWriter):
        def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
            packets.to = transport
            super().__init__(packets, loop)

    monkeypatch.setattr("service.gateway.server.protocol.Together", Copied)
    monkeypatch.setattr(HttpToolsProtocol, "on_response_complete", noted)
    async with listening() as client:
        packets.sent.clear()
        sent_by_then.clear()
        response = await client.request(method, "/livez")

    assert response.status_code == 200
    assert sent_by_then == [1]
    assert packets.sent[0].startswith(b"HTTP/1.1 200 OK")
    assert packets.sent[0].endswith(b"\r\n\r\n" + response.content)


async def test_nothing_is_sent_to_a_connection_that_closed_meanwhile(
    packets: Packets, together: CoalescedWriter
) -> None:
    together.write(b"head")
    packets.close()
    await asyncio.sleep(0)

    assert packets.sent == []


class Full(Packets):
    """A connection with so many bytes that its client has not taken."""

    left = 3

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.closed = True


async def test_a_client_that_takes_little_by_little_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gateway.server.coalesced_writes.UNREAD_S", 0.01)
    full = Full()
    together = CoalescedWriter(full, asyncio.get_running_loop())
    together.expect_reading()
    seen = []
    while not full.closed:
        seen.append(full.left)
        full.left = max(1, full.left - 1)
        clock = together._clock
        await until(lambda clock=clock: together._clock is not clock or full.closed)  # type: ignore[misc]

    assert seen == [3, 2, 1]


async def test_a_client_that_took_all_has_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gateway.server.coalesced_writes.UNREAD_S", 0)
    full = Full()
    together = CoalescedWriter(full, asyncio.get_running_loop())
    together.expect_reading()
    together.expect_nothing()
    await asyncio.sleep(0.01)

    assert not full.closed
