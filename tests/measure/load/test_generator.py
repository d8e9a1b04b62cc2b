"""Tests of closed and open loops against a server with known delays."""

import asyncio
import time
from itertools import repeat

import pytest

from service.host.processes import free_port
from service.measure.load import generator
from service.measure.load.arrivals import constant, poisson
from service.measure.load.generator import (
    LOST,
    OK,
    TIMED_OUT,
    UNREACHED,
    Client,
    Sample,
    outcome_of,
    parse_server_timing,
)
from service.measure.load.http_connection import Address, Reply, Request
from tests.measure.load.serving import Answer, Server, running

pytestmark = pytest.mark.anyio


def outcomes(client: Client) -> list[str]:
    return [sample.outcome for sample in client.samples]


async def test_callers_of_a_closed_loop_wait_for_their_answers(request_: Request) -> None:
    async with running(Server(lambda _: Answer(0.05))) as server:
        client = Client(server.address, 4, 30)
        await generator.closed_loop(client, [request_], 4, time.perf_counter() + 0.5)
        client.close()
    assert server.connections == 4
    assert set(outcomes(client)) == {OK}
    assert 4 <= len(client.samples) <= 4 * 11
    assert all(sample.latency_s >= 0.05 for sample in client.samples)


async def test_an_open_loop_sends_on_time_whatever_is_unanswered(request_: Request) -> None:
    async with running(Server(lambda _: Answer(0.3))) as server:
        client = Client(server.address, 100, 30)
        await generator.open_loop(client, [request_], constant(50), time.perf_counter() + 0.5)
        client.close()
    assert len(client.samples) == 25  # a closed loop of one caller would have sent two
    assert server.connections > 5
    assert set(outcomes(client)) == {OK}


async def test_an_open_loops_latencies_count_from_when_it_was_time_to_send(request_: Request) -> None:
    """Send twice as many requests as the server can answer: the wait grows, and the sender does not pause."""
    async with running(Server(lambda _: Answer(0.02), one_at_a_time=True)) as server:
        client = Client(server.address, 1, 30)
        await generator.open_loop(client, [request_], constant(100), time.perf_counter() + 0.6)
        client.close()
    samples = sorted(client.samples)
    assert len(samples) == 60
    # The last request is due at 0.59 s. Its reply comes after at least 60 * 0.02 = 1.2 s.
    assert samples[-1].latency_s >= 0.6
    assert samples[-1].ended - samples[-1].sent < samples[-1].latency_s - 0.3
    assert all(before.latency_s <= after.latency_s + 0.02 for before, after in zip(samples, samples[10:], strict=False))


async def test_an_answer_that_does_not_come_is_given_up(request_: Request) -> None:
    async with running(Server(lambda _: Answer(30))) as server:
        client = Client(server.address, 1, 0.1)
        assert await client.send(request_) is None
        client.close()
    assert outcomes(client) == [TIMED_OUT]


async def test_faults_of_the_connection_are_told_apart(request_: Request) -> None:
    unreachable = Client(Address("127.0.0.1", free_port()), 1, 30)
    await unreachable.send(request_)
    async with running(Server(lambda _: Answer(cut=True))) as server:
        cut = Client(server.address, 1, 30)
        await cut.send(request_)
    assert outcomes(unreachable) + outcomes(cut) == [UNREACHED, LOST]


async def test_a_connection_that_was_closed_while_idle_is_replaced(request_: Request) -> None:
    answers = (Answer(headers=("Connection: close",)), Answer(), Answer())
    async with running(Server(lambda number: answers[number])) as server:
        client = Client(server.address, 1, 30)
        for _ in answers:
            await client.send(request_)
        client.close()
    assert outcomes(client) == [OK] * 3
    assert server.connections == 2


async def test_a_sample_has_the_stages_that_the_server_told(request_: Request) -> None:
    header = "Server-Timing: decode;dur=2.50, queue;dur=0.1;desc=x, total;dur=9"
    async with running(Server(lambda _: Answer(headers=(header,)))) as server:
        client = Client(server.address, 1, 30)
        await client.send(request_)
        client.close()
    assert client.samples[0].stages == {"decode": 2.5, "queue": 0.1, "total": 9.0}


@pytest.mark.parametrize("header", ["", "cache", "cache;desc=hit, ,", "cache;dur=long", "cache;dur=nan"])
def test_stages_without_a_duration_are_left_out(header: str) -> None:
    assert parse_server_timing(header) == {}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"[1, 2]", OK),
        (204, b"", OK),
        (200, b'{"results": [{"predictions": []}]}', OK),
        (200, b'{"error": "a word"}', OK),
        (200, b'{"results":[{"predictions":[]},{"error":{"code":"image_corrupt"}}]}', "200 image_corrupt"),
        (503, b'{"code": "overloaded"}', "503 overloaded"),
        (200, b'{"results":[{"error":{}},{"error":{"code":"image_corrupt"}}]}', "200 image_corrupt"),
        (503, b"Service Unavailable", "503"),
        (500, b"[]", "500"),
    ],
)
def test_an_outcome_is_the_status_and_the_problems_code(status: int, body: bytes, outcome: str) -> None:
    assert outcome_of(Reply(status, {}, body)) == outcome


def test_a_latency_counts_from_the_schedule() -> None:
    assert Sample(1.0, 3.0, 3.5, OK, 1, "").latency_s == 2.5


async def test_an_open_loop_that_has_nothing_to_send_ends(request_: Request) -> None:
    client = Client(Address("127.0.0.1", 1), 1, 1)
    await generator.open_loop(client, [request_], repeat(1e9), time.perf_counter() + 0.1)
    assert client.samples == []


async def test_an_open_loop_never_sends_early(request_: Request) -> None:
    async with running(Server()) as server:
        client = Client(server.address, 100, 30)
        await generator.open_loop(client, [request_], poisson(300), time.perf_counter() + 0.5)
        client.close()
    assert len(client.samples) > 100
    assert all(sample.sent >= sample.scheduled for sample in client.samples)


def test_the_generators_loop_is_the_gateways() -> None:
    async def loop_of() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert generator.run(loop_of()) == "uvloop"
