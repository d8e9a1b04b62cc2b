"""Two gateway processes on one port: both answer, their metrics are summed, and one may be killed."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.host.processes import free_port
from tests.e2e.running import NO_HTTPS, Running, running, until
from tests.e2e.test_answers import upload
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

GATEWAY = "-m service gateway"
WAIT_S = 120  # for a machine with two shared cores
CALLERS = 24  # the kernel distributes connections at random: with probability 1e-7 all go to one process
PATIENT = {"Request-Timeout": "60"}


@pytest.fixture
def anyio_backend() -> str:
    """Run the callers on asyncio."""
    return "asyncio"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one model, because each more takes 3 s of a core at a start."""
    return write_store(tmp_path_factory.mktemp("store"), "tiny-classifier")


@pytest.fixture(scope="module")
def pair(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of two gateway processes. Its counters have what the tests before have sent."""
    with running(store, tmp_path_factory.mktemp("run"), free_port(), "--gateway-workers", "2") as started:
        started.await_ready()
        yield started


def gateways(service: Running) -> dict[int, psutil.Process]:
    """Return the gateway processes by their ids."""
    children = psutil.Process(service.process.pid).children()
    return {child.pid: child for child in children if GATEWAY in " ".join(child.cmdline())}


def holders(service: Running) -> Counter[int]:
    """Return how many connections each gateway process holds."""
    port = service.client.base_url.port
    return Counter(
        process.pid
        for process in gateways(service).values()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port
    )


def series(service: Running) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples of one scrape over a new connection."""
    text = httpx.get(f"{service.client.base_url}/metrics", timeout=60, verify=NO_HTTPS).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(service: Running, name: str, **labels: str) -> float:
    return series(service).get((name, frozenset(labels.items())), 0.0)


def ended(service: Running) -> float:
    return value(service, "resnest_http_requests_total", route="/v1/classify", method="POST", status="200")


class Load:
    """Callers, each with its own connection, that send requests until they are stopped or the service shuts down."""

    def __init__(self, service: Running) -> None:
        self.url = f"{service.client.base_url}/v1/classify"
        self.answers: list[int] = []
        self.broken = 0
        self.stopped = False

    async def call(self, seed: int, until_it_ends: bool = False) -> None:  # noqa: FBT001, FBT002
        async with httpx.AsyncClient(timeout=WAIT_S, verify=NO_HTTPS) as client:
            while not self.stopped:
                try:
                    answer = await client.post(self.url, content=upload(seed), headers=PATIENT)
                except httpx.TransportError:
                    self.broken += 1
                    continue
                self.answers.append(answer.status_code)
                if until_it_ends and answer.headers.get("connection") == "close":
                    return


async def reached(what: Callable[[], bool], say: Callable[[], object] = lambda: "") -> None:
    await asyncio.to_thread(until, what, WAIT_S, say)


async def test_many_connections_reach_both_and_one_scrape_tells_the_sum(pair: Running) -> None:
    load, before = Load(pair), ended(pair)
    async with asyncio.TaskGroup() as callers:
        for seed in range(CALLERS):
            callers.create_task(load.call(seed))
        await reached(lambda: len(holders(pair)) == 2 and len(load.answers) > 2 * CALLERS)
        spread = holders(pair)
        load.stopped = True

    assert load.broken == 0
    assert set(load.answers) == {200}
    assert min(spread.values()) >= 3, spread
    sent = before + len(load.answers)
    for _ in range(6):  # over new connections, so that very probably both processes answer
        assert ended(pair) == sent
    duration = "resnest_http_request_duration_seconds"
    labels = {"route": "/v1/classify", "method": "POST"}
    assert value(pair, f"{duration}_count", **labels) == sent
    assert value(pair, f"{duration}_bucket", **labels, le="+Inf") == sent
    assert value(pair, "resnest_images_total", model="tiny-classifier", outcome="ok") == sent
    assert value(pair, "resnest_http_requests_in_flight", route="/v1/classify") == 0
    assert value(pair, "resnest_inference_in_flight", model="tiny-classifier") == 0
    assert value(pair, "resnest_workers_ready", model="tiny-classifier") == 1
    assert value(pair, "resnest_ready") == 1
    names = {"model": "tiny-classifier", "family": "tiny-classifier", "version": "1.0"}
    assert value(pair, "resnest_version_share", **names) == 1
    assert {label for _, labels in series(pair) for label, _ in labels}.isdisjoint({"pid"})


async def test_a_killed_one_loses_its_own_connections_alone_and_comes_back(pair: Running) -> None:
    load, before = Load(pair), ended(pair)
    async with asyncio.TaskGroup() as callers:
        for seed in range(CALLERS):
            callers.create_task(load.call(seed))
        await reached(lambda: len(holders(pair)) == 2 and len(load.answers) > CALLERS)
        (victim, held), *_ = holders(pair).most_common()
        pair.members("")
        os.kill(victim, signal.SIGKILL)
        probes: list[int] = []

        def is_back() -> bool:
            try:
                probes.append(httpx.get(f"{pair.client.base_url}/readyz", timeout=60, verify=NO_HTTPS).status_code)
                return value(pair, "resnest_gateway_restarts_total") == 1
            except httpx.TransportError:  # it reached the process that was killed
                return False

        await reached(is_back, lambda: pair.output)
        load.stopped = True

    assert load.broken <= 2 * held  # its connections, and some of them twice while the kernel ended the process
    assert set(load.answers) == {200}
    assert set(probes) == {200}
    assert victim not in gateways(pair)
    assert len(gateways(pair)) == 2
    # The counters of the killed process are kept. It may have counted requests whose answers it did not send.
    assert len(load.answers) <= ended(pair) - before <= len(load.answers) + held
    assert value(pair, "resnest_http_requests_in_flight", route="/v1/classify") == 0
    assert "A gateway process was ended by signal SIGKILL; restarting it" in pair.output


async def test_the_end_under_load_loses_no_request(store: Path, tmp_path: Path) -> None:
    with running(store, tmp_path / "run", free_port(), "--gateway-workers", "2", RESNEST_DRAIN_S="4") as service:
        service.await_ready()
        load = Load(service)
        async with asyncio.TaskGroup() as callers:
            for seed in range(CALLERS):
                callers.create_task(load.call(seed, until_it_ends=True))
            await reached(lambda: len(load.answers) > 2 * CALLERS)
            service.members("")
            service.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(service.process.wait, WAIT_S) == 0
        await reached(lambda: not service.left(), service.left)

    assert load.broken == 0
    assert set(load.answers) == {200}
    assert "restarting it" not in service.output


def test_a_gateway_alone_is_several_too_and_gives_up_where_none_can_start(tmp_path: Path) -> None:
    """As in a container. Without a model server it is not ready, but it serves."""
    store = write_store(tmp_path / "store", "tiny-classifier", weights=False)
    with running(store, tmp_path / "run", free_port(), command="gateway", RESNEST_GATEWAY_WORKERS="2") as service:
        until(lambda: len(gateways(service)) == 2 and _answers(service), WAIT_S, lambda: service.output)
        service.members("")
        assert service.client.get("/readyz").status_code == 503
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(WAIT_S) == 0
        until(lambda: not service.left(), WAIT_S)

    keys = str(tmp_path / "nothing")
    with running(
        store, tmp_path / "run2", free_port(), command="gateway", RESNEST_GATEWAY_WORKERS="2", RESNEST_KEYS_FILE=keys
    ) as service:
        assert service.process.wait(WAIT_S) == 1
        assert "ended with code 1 while starting" in service.output.splitlines()[-1]
        assert f"{keys}: No such file" in service.output


def _answers(service: Running) -> bool:
    try:
        return service.client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False
