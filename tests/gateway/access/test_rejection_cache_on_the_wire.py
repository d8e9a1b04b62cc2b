"""How a cached rejection is sent, and whether its connection stays open."""

import asyncio

import pytest

from service.gateway.http.middleware import LINGER_S
from service.gateway.server.protocol import MAX_FRAMING
from tests.gateway.conftest import Opened, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.full_gateway import House, refused, server_end

pytestmark = pytest.mark.anyio


async def ids(reader: asyncio.StreamReader, count: int) -> list[str]:
    """Return the request ids of the next answers."""
    found: list[str] = []
    while len(found) < count:
        line = await asyncio.wait_for(reader.readline(), 10)
        assert line, "the connection ended"
        if line.lower().startswith(b"x-request-id: "):
            found.append(line.split()[1].decode())
    return found


async def test_a_body_that_follows_its_head_at_once_keeps_the_connection(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gateway.server.protocol.BODY_WAIT_S", 600)
    wire = house.wire({"X-Request-ID": "{}"})
    reader, writer = await house.connect()
    with house.full():
        refused(await house.call(headers={"X-Request-ID": "0"}))
        for number in ("1", "2"):
            sent = wire.replace(b"{}", number.encode())
            writer.write(sent[:-10])
            await until(lambda: server_end(writer)._cached_rejection is not None)
            writer.write(sent[-10:])
            assert await ids(reader, 1) == [number]
    writer.close()

    assert len(house.asked) == 1


async def test_a_refusal_does_not_wait_for_the_rest_of_a_body_for_long(house: House) -> None:
    reader, writer = await house.connect()
    with house.full():
        refused(await house.call())
        writer.write(house.wire()[:-10])
        answer = await asyncio.wait_for(reader.read(), 10)  # until the server closes
    writer.close()

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"connection: close\r\n" in answer
    assert len(house.asked) == 1


@pytest.mark.parametrize("soon_s", [0.005, 600])
async def test_a_shutdown_loses_no_refusal(soon_s: float, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gateway.server.protocol.BODY_WAIT_S", soon_s)
    reader, writer = await house.connect()
    with house.full():
        refused(await house.call())
        writer.write(house.wire()[:-10])
        end = server_end(writer)
        await until(lambda: end._rejected if soon_s < 1 else end._cached_rejection is not None)
        end.shutdown()
        for _ in range(5):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)
        answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 503")


async def test_who_sends_a_body_slowly_can_read_the_refusal_behind_it(house: House) -> None:
    body = bytes(100_000)
    reader, writer = await house.connect()
    with house.full():
        refused(await house.call())
        head = house.wire(body=body)[: -len(body)]
        writer.write(head)
        started = asyncio.get_running_loop().time()
        for start in range(0, len(body), 10_000):
            writer.write(body[start : start + 10_000])
            await writer.drain()
            await asyncio.sleep(0.12)  # longer, in all, than a second
        answer = await asyncio.wait_for(reader.read(), 10)
        took = asyncio.get_running_loop().time() - started
    writer.close()

    assert answer.startswith(b"HTTP/1.1 503")
    assert took < LINGER_S, "the end of the body ends the connection"


async def test_a_request_that_is_refused_twice_is_told_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gateway.server.protocol.BODY_WAIT_S", 600)
    reader, writer = await house.connect()
    with house.full():
        refused(await house.call())
        writer.write(house.wire({"X-Request-ID": " " * 2 * MAX_FRAMING + "1"})[:-10])
        await until(lambda: server_end(writer)._rejected)
        server_end(writer).shutdown()
        answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 431")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("more", [b"HTTP/1.0\r\nConnection: keep-alive", b"HTTP/1.1\r\nConnection: close"])
async def test_a_connection_that_is_to_end_ends_after_a_refusal(more: bytes, house: House) -> None:
    wire = house.wire().replace(b"HTTP/1.1", more, 1)
    with house.full():
        for _ in range(2):
            reader, writer = await house.connect()
            writer.write(wire)
            answer = await asyncio.wait_for(reader.read(), 10)  # until the server closes
            writer.close()
            assert answer.startswith(b"HTTP/1.1 503")


async def test_requests_sent_without_waiting_are_answered_in_their_order(house: House) -> None:
    wire = house.wire({"X-Request-ID": "{}"})
    reader, writer = await house.connect()
    with house.full():
        refused(await house.call(headers={"X-Request-ID": "0"}))
        sent = [f"{number}" for number in range(1, 7)]
        writer.write(b"".join(wire.replace(b"{}", each.encode()) for each in sent[:3]))
        writer.write(b"".join(wire.replace(b"{}", each.encode()) for each in sent[3:]))
        found = await ids(reader, len(sent))
    writer.close()

    assert found == sent


async def test_a_refusal_does_not_overtake_the_answer_before_it(house: House, fake: FakeTorchServe) -> None:
    fake.behaviour = "slow"
    reader, writer = await house.connect()
    writer.write(house.wire({"X-Request-ID": "1"}))
    await until(lambda: fake.waiting)
    with house.full(places=1):
        refused(await house.call(headers={"X-Request-ID": "0"}))
        assert house.components.rejections
        writer.write(house.wire({"X-Request-ID": "2"}))
        await until(lambda: server_end(writer).pipeline)
        fake.release.set()
        found = await ids(reader, 2)
    writer.close()

    assert found == ["1", "2"]


async def test_an_answer_behind_a_refusal_is_not_ended_by_the_clock_of_idle_connections(
    opened: Opened, fake: FakeTorchServe
) -> None:
    async with opened(keep_alive_s=1) as house:
        reader, writer = await house.connect()
        fake.behaviour = "slow"
        with house.full(models=["tiny-classifier"]):
            refused(await house.call())
            other = house.wire({"X-Request-ID": "2"}, "/v1/classify?model=tiny-classifier-b")
            writer.write(house.wire({"X-Request-ID": "1"}) + other)
            found = await ids(reader, 1)
            await until(lambda: fake.waiting)
            await asyncio.sleep(1.5)  # longer than an idle connection has
            fake.release.set()
            found += await ids(reader, 1)
        writer.close()

    assert found == ["1", "2"]


async def test_to_a_client_that_does_not_read_nothing_more_is_written(house: House) -> None:
    reader, writer = await house.connect()
    with house.full():
        refused(await house.call(headers={"X-Request-ID": "0"}))
        writer.write(house.wire({"X-Request-ID": "1"}))
        assert await ids(reader, 1) == ["1"]
        server_end(writer).pause_writing()
        writer.write(house.wire({"X-Request-ID": "2"}))
        await until(lambda: len(house.asked) == 2)
        server_end(writer).resume_writing()
        assert await ids(reader, 1) == ["2"]
    writer.close()


async def test_a_length_of_thousands_of_digits_is_no_mistake_for_being_refused(house: House) -> None:
    wire = house.wire()
    length = wire.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
    reader, writer = await house.connect()
    with house.full():
        refused(await house.call())
        writer.write(wire.replace(b"Content-Length: " + length, b"Content-Length: " + length.zfill(4400)))
        line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()

    assert line.startswith(b"HTTP/1.1 503")
