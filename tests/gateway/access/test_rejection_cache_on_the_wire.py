"""How a cached rejection is sent, and whether its connection stays open."""

import asyncio

import pytest

from service.gateway.server.protocol import MAX_FRAMING
from tests.gateway.conftest import OpenFullGateway, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.full_gateway import FullGateway, assert_overloaded, server_end

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
    full_gateway: FullGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gateway.server.protocol.BODY_WAIT_S", 600)
    wire = full_gateway.wire({"X-Request-ID": "{}"})
    reader, writer = await full_gateway.connect()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call(headers={"X-Request-ID": "0"}))
        for number in ("1", "2"):
            sent = wire.replace(b"{}", number.encode())
            writer.write(sent[:-10])
            await until(lambda: server_end(writer)._cached_rejection is not None)
            writer.write(sent[-10:])
            assert await ids(reader, 1) == [number]
    writer.close()

    assert len(full_gateway.checked) == 1


async def test_a_refusal_does_not_wait_for_the_rest_of_a_body_for_long(full_gateway: FullGateway) -> None:
    reader, writer = await full_gateway.connect()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        writer.write(full_gateway.wire()[:-10])
        answer = await asyncio.wait_for(reader.read(), 10)  # until the server closes
    writer.close()

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"connection: close\r\n" in answer
    assert len(full_gateway.checked) == 1


@pytest.mark.parametrize("soon_s", [0.005, 600])
async def test_a_shutdown_loses_no_refusal(
    soon_s: float, full_gateway: FullGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gateway.server.protocol.BODY_WAIT_S", soon_s)
    reader, writer = await full_gateway.connect()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        writer.write(full_gateway.wire()[:-10])
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


async def test_who_sends_a_body_slowly_can_read_the_refusal_behind_it(
    full_gateway: FullGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gateway.server.protocol.LINGER_S", 600)
    body = bytes(100_000)
    reader, writer = await full_gateway.connect()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        head = full_gateway.wire(body=body)[: -len(body)]
        writer.write(head)
        for start in range(0, len(body), 10_000):
            writer.write(body[start : start + 10_000])
            await writer.drain()
            await asyncio.sleep(0.12)  # longer, in all, than a second
        answer = await asyncio.wait_for(reader.read(), 10)
        await until(server_end(writer).transport.is_closing)  # the end of the body ends the connection
    writer.close()

    assert answer.startswith(b"HTTP/1.1 503")


async def test_a_request_that_is_refused_twice_is_told_once(
    full_gateway: FullGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gateway.server.protocol.BODY_WAIT_S", 600)
    reader, writer = await full_gateway.connect()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        writer.write(full_gateway.wire({"X-Request-ID": " " * 2 * MAX_FRAMING + "1"})[:-10])
        await until(lambda: server_end(writer)._rejected)
        server_end(writer).shutdown()
        answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 431")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("more", [b"HTTP/1.0\r\nConnection: keep-alive", b"HTTP/1.1\r\nConnection: close"])
async def test_a_connection_that_is_to_end_ends_after_a_refusal(more: bytes, full_gateway: FullGateway) -> None:
    wire = full_gateway.wire().replace(b"HTTP/1.1", more, 1)
    with full_gateway.fill():
        for _ in range(2):
            reader, writer = await full_gateway.connect()
            writer.write(wire)
            answer = await asyncio.wait_for(reader.read(), 10)  # until the server closes
            writer.close()
            assert answer.startswith(b"HTTP/1.1 503")


async def test_requests_sent_without_waiting_are_answered_in_their_order(full_gateway: FullGateway) -> None:
    wire = full_gateway.wire({"X-Request-ID": "{}"})
    reader, writer = await full_gateway.connect()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call(headers={"X-Request-ID": "0"}))
        sent = [f"{number}" for number in range(1, 7)]
        writer.write(b"".join(wire.replace(b"{}", each.encode()) for each in sent[:3]))
        writer.write(b"".join(wire.replace(b"{}", each.encode()) for each in sent[3:]))
        found = await ids(reader, len(sent))
    writer.close()

    assert found == sent


async def test_a_refusal_does_not_overtake_the_answer_before_it(
    full_gateway: FullGateway, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    reader, writer = await full_gateway.connect()
    writer.write(full_gateway.wire({"X-Request-ID": "1"}))
    await until(lambda: fake.waiting)
    with full_gateway.fill(slots=1):
        assert_overloaded(await full_gateway.call(headers={"X-Request-ID": "0"}))
        assert full_gateway.components.rejections
        writer.write(full_gateway.wire({"X-Request-ID": "2"}))
        await until(lambda: server_end(writer).pipeline)
        fake.release.set()
        found = await ids(reader, 2)
    writer.close()

    assert found == ["1", "2"]


async def test_an_answer_behind_a_refusal_is_not_ended_by_the_clock_of_idle_connections(
    open_full_gateway: OpenFullGateway, fake: FakeTorchServe
) -> None:
    async with open_full_gateway(keep_alive_s=1) as full_gateway:
        reader, writer = await full_gateway.connect()
        fake.behaviour = "slow"
        with full_gateway.fill(models=["tiny-classifier"]):
            assert_overloaded(await full_gateway.call())
            other = full_gateway.wire({"X-Request-ID": "2"}, "/v1/classify?model=tiny-classifier-b")
            writer.write(full_gateway.wire({"X-Request-ID": "1"}) + other)
            found = await ids(reader, 1)
            await until(lambda: fake.waiting)
            await asyncio.sleep(1.5)  # longer than an idle connection has
            fake.release.set()
            found += await ids(reader, 1)
        writer.close()

    assert found == ["1", "2"]


async def test_to_a_client_that_does_not_read_nothing_more_is_written(full_gateway: FullGateway) -> None:
    reader, writer = await full_gateway.connect()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call(headers={"X-Request-ID": "0"}))
        writer.write(full_gateway.wire({"X-Request-ID": "1"}))
        assert await ids(reader, 1) == ["1"]
        server_end(writer).pause_writing()
        writer.write(full_gateway.wire({"X-Request-ID": "2"}))
        await until(lambda: len(full_gateway.checked) == 2)
        server_end(writer).resume_writing()
        assert await ids(reader, 1) == ["2"]
    writer.close()


async def test_a_length_of_thousands_of_digits_is_no_mistake_for_being_refused(full_gateway: FullGateway) -> None:
    wire = full_gateway.wire()
    length = wire.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
    reader, writer = await full_gateway.connect()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        writer.write(wire.replace(b"Content-Length: " + length, b"Content-Length: " + length.zfill(4400)))
        line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()

    assert line.startswith(b"HTTP/1.1 503")
