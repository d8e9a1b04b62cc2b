"""An answer's head and body, and when they are sent."""

import asyncio
from collections.abc import Iterable

import pytest

from service.gateway.together import Together

pytestmark = pytest.mark.anyio


class Packets(asyncio.Transport):
    """What is sent at once, each as one."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.sent.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def test_an_answers_head_leaves_with_its_body() -> None:
    packets = Packets()
    together = Together(packets, asyncio.get_running_loop())

    together.write(b"head ")
    together.write(b"body")
    await asyncio.sleep(0)

    assert packets.sent == [b"head body"]


async def test_a_head_whose_body_takes_longer_does_not_wait_for_it() -> None:
    packets = Packets()
    together = Together(packets, asyncio.get_running_loop())

    together.write(b"head")
    together.write(b"")  # of an answer to HEAD
    await asyncio.sleep(0)
    together.write(b"body")
    await asyncio.sleep(0)

    assert packets.sent == [b"head", b"body"]


async def test_what_is_written_last_is_sent_before_the_connection_closes() -> None:
    packets = Packets()
    together = Together(packets, asyncio.get_running_loop())

    together.write(b"head")
    together.close()
    await asyncio.sleep(0)

    assert packets.sent == [b"head"]
    assert together.is_closing()


async def test_nothing_is_sent_to_a_connection_that_closed_meanwhile() -> None:
    packets = Packets()
    together = Together(packets, asyncio.get_running_loop())

    together.write(b"head")
    packets.close()
    await asyncio.sleep(0)

    assert packets.sent == []
