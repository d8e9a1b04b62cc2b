"""Tests of one load on one service, from the warm-up to the figures."""

import os
import time

import pytest

from service.host.processes import free_port
from service.measure.load import trial, usage
from service.measure.load.generator import OK
from service.measure.load.http_connection import Address, Request
from service.measure.load.trial import Load, Plan, ProbeFailedError, Progress
from service.measure.load.usage import Process
from tests.measure.load.serving import Answer, Server, running

pytestmark = pytest.mark.anyio


async def test_a_closed_loop_is_measured_after_its_warm_up(request_: Request) -> None:
    async with running(Server(lambda number: Answer(0.3 if number < 2 else 0.02))) as server:
        plan = Plan(server.address, [request_], seconds=0.6, warm_up_s=0.4)
        found = await trial.trial(plan, Load("closed", 2))
    assert found.summary.outcomes == {OK: found.summary.requests}
    median = found.summary.latency_ms["p50"]
    assert median is not None
    assert 20 <= median < 300  # the slow first replies were in the warm-up
    assert len(server.requests) > found.summary.requests


@pytest.mark.parametrize("kind", ["constant", "poisson"])
async def test_an_open_loop_offers_its_rate(kind: trial.Kind, request_: Request) -> None:
    async with running(Server(lambda _: Answer(0.01))) as server:
        found = await trial.trial(Plan(server.address, [request_], 1.0, 0.2), Load(kind, 60))
    assert 35 <= found.summary.requests <= 85
    assert found.summary.errors == 0


async def test_errors_under_load_are_counted_and_no_reason_to_stop(request_: Request) -> None:
    full = Answer(status=503, body=b'{"code": "overloaded"}')
    async with running(Server(lambda number: full if number % 2 else Answer())) as server:
        found = await trial.trial(Plan(server.address, [request_], 0.4, 0.1), Load("constant", 50))
    assert set(found.summary.outcomes) == {OK, "503 overloaded"}
    assert abs(found.summary.errors * 2 - found.summary.requests) <= 2


async def test_the_servers_processes_are_watched_meanwhile(request_: Request) -> None:
    async with running(Server()) as server:
        plan = Plan(server.address, [request_], 0.5, 0.1, pid=os.getpid())
        for _ in range(10):  # the system counts CPU time in steps of 10 ms, and may stop this process for a whole trial
            found = await trial.trial(plan, Load("closed", 1))
            ours = next(each for each in found.processes if each.pid == os.getpid())
            if ours.cores > 0:
                break
    assert 0 < ours.cores < 2 * (os.cpu_count() or 1)


async def test_a_late_snapshot_does_not_change_the_mean_use(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_core(pid: int) -> dict[int, Process]:
        return {pid: Process("busy", time.perf_counter(), 0)}

    monkeypatch.setattr(usage, "snapshot", one_core)
    async with running(Server()) as server:
        plan = Plan(server.address, [request_], 0.6, 0.1, pid=1)
        found = await trial.trial(plan, Load("closed", 1), lambda _: time.sleep(1))  # it stops the event loop
    assert 0.8 < found.processes[0].cores < 1.2


async def test_progress_is_told_and_reaches_the_end(request_: Request) -> None:
    reported: list[Progress] = []
    async with running(Server(lambda _: Answer(0.01))) as server:
        await trial.trial(Plan(server.address, [request_], 1.2, 0.1), Load("closed", 2), reported.append)
    assert reported
    assert 0 < reported[0].share < 1
    assert reported[-1].done > 0
    assert reported[-1].errors == 0


async def test_every_picture_is_answered_once_before_any_load(request_: Request) -> None:
    async with running(Server(lambda number: Answer(body=b"%d" % number))) as server:
        reply = await trial.probe(Plan(server.address, [request_, request_]))
    assert reply.body == b"0"
    assert len(server.requests) == 2


async def test_a_service_that_refuses_the_picture_is_not_measured(request_: Request) -> None:
    rejection = Answer(status=415, body=b'{"code": "unsupported_media_type"}')
    async with running(Server(lambda _: rejection)) as server:
        with pytest.raises(ProbeFailedError, match=r"does not answer an image: 415 unsupported_media_type \{"):
            await trial.probe(Plan(server.address, [request_]))


async def test_a_service_that_is_not_there_is_told(request_: Request) -> None:
    with pytest.raises(ProbeFailedError, match=r"cannot be reached; start `resnest-service run` there"):
        await trial.probe(Plan(Address("127.0.0.1", free_port()), [request_]))


@pytest.mark.parametrize(
    ("load", "text"), [(Load("closed", 16), "16 at a time"), (Load("poisson", 87.654), "87.65 req/s poisson")]
)
def test_a_load_says_what_it_is(load: Load, text: str) -> None:
    assert str(load) == text
