"""Headers that dribble in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.gateway.conftest import Running
from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.pictures import picture

pytestmark = pytest.mark.anyio


async def closed_after(port: int, *sent: bytes) -> float:
    """Seconds until the server closes on a client that sends this, a piece each tenth of a second."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        with suppress(ConnectionError):
            for piece in sent:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.1)

    sending = asyncio.create_task(send())
    async with asyncio.timeout(10):
        while await reader.read(65_536):
            pass
    took = loop.time() - started
    sending.cancel()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return took


@pytest.mark.parametrize(
    "sent",
    [
        (),
        (b"POST /v1/classify HT",),
        (b"POST /v1/classify HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 40),
    ],
    ids=["nothing", "half a line", "a header a tenth of a second"],
)
async def test_a_connection_without_whole_headers_is_closed_in_time(sent: tuple[bytes], listening: Running) -> None:
    async with listening(header_timeout_s=0.5) as client:
        took = await closed_after(client.base_url.port or 0, *sent)

        assert 0.4 <= took < 3
        assert (await client.get("/livez")).status_code == 200


async def test_a_second_request_on_a_connection_has_the_same_time(listening: Running) -> None:
    async with listening(header_timeout_s=0.5) as client:
        took = await closed_after(
            client.base_url.port or 0, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /livez HTTP/1.1\r\n"
        )

    assert 0.5 <= took < 3


async def test_half_a_request_behind_one_that_is_being_answered_does_not_cut_its_answer(
    listening: Running, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    content = picture()
    head = f"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    async with listening(header_timeout_s=0.2) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(head + content + b"GET /livez HTT")
        await asyncio.sleep(0.5)
        fake.release.set()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_an_idle_connection_and_a_long_body_are_not_closed_by_it(listening: Running) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        content = picture()
        for start in range(0, len(content), len(content) // 6):
            yield content[start : start + len(content) // 6]
            await asyncio.sleep(0.1)

    async with listening(header_timeout_s=0.2) as client:
        first = await client.post("/v1/classify", content=slowly())
        await asyncio.sleep(0.4)
        second = await client.get("/livez")

        assert (first.status_code, second.status_code) == (200, 200)
        assert len(client._transport._pool.connections) == 1  # type: ignore[attr-defined]
