"""One load on one service: it warms up, measures, and samples the CPU and memory use of the server's processes."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.measure.load import generator, usage
from service.measure.load.arrivals import ARRIVALS
from service.measure.load.generator import OK, UNREACHED, Client
from service.measure.load.http_connection import Address, Reply, Request
from service.measure.load.summary import Summary, Window, summarise
from service.measure.load.usage import Process, Usage

Kind = Literal["closed", "poisson", "constant"]

PROGRESS_S = 0.5
SHOWN_BYTES = 300  # of the body of a failed reply


class ProbeFailedError(RuntimeError):
    """The service does not answer an image before any load. The message is one sentence for the user."""


@dataclass(frozen=True)
class Load:
    """A number of callers that wait for their replies (`closed`), or a rate in requests per second (open loop)."""

    kind: Kind
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:g} at a time" if self.kind == "closed" else f"{self.amount:.4g} req/s {self.kind}"


@dataclass(frozen=True)
class Plan:
    """What all loads of a measurement share. An open loop has at most `connections` requests in flight."""

    address: Address
    requests: Sequence[Request]
    seconds: float = 10.0
    warm_up_s: float = 2.0
    timeout_s: float = 30.0
    connections: int = 1024
    seed: int = 0
    pid: int | None = None


@dataclass(frozen=True)
class Trial:
    """A load, its results, and the use of CPU and memory by the server's processes, empty if they are not visible."""

    load: Load
    summary: Summary
    processes: list[Usage] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """The progress of a trial.

    `share` is the elapsed share of its time, `done` the successful replies so far, `per_s` the recent rate of them.
    """

    share: float
    done: int
    per_s: float
    in_flight: int
    errors: int


async def probe(plan: Plan) -> Reply:
    """Send each request once, one after another, and return the first reply. Raises `ProbeFailedError`."""
    client = Client(plan.address, 1, plan.timeout_s)
    try:
        replies = [await client.send(request) for request in plan.requests]
    finally:
        client.close()
    for sample, reply in zip(client.samples, replies, strict=True):
        if sample.outcome != OK:
            body = reply.body[:SHOWN_BYTES].decode(errors="replace") if reply else ""
            where = f"{plan.address.host} port {plan.address.port}"
            if sample.outcome == UNREACHED:
                raise ProbeFailedError(
                    f"{where} cannot be reached; start `resnest-service run` there, or name the URL of one that runs"
                )
            raise ProbeFailedError(f"{where} does not answer an image: {sample.outcome} {body}".rstrip())
    first = replies[0]
    assert first is not None  # noqa: S101 - for the type checker: the outcome was ok
    return first


async def trial(plan: Plan, load: Load, report: Callable[[Progress], None] = lambda _: None) -> Trial:
    """Apply one load to the service and measure it. `report` is called twice a second."""
    concurrency = int(load.amount) if load.kind == "closed" else plan.connections
    client = Client(plan.address, concurrency, plan.timeout_s)
    begun = time.perf_counter()
    window = Window(begun + plan.warm_up_s, begun + plan.warm_up_s + plan.seconds)
    watching = asyncio.create_task(_watch(client, window, begun, report))
    sampling = asyncio.create_task(_sample_processes(plan, window))
    try:
        if load.kind == "closed":
            await generator.closed_loop(client, plan.requests, concurrency, window.end)
        else:
            times = ARRIVALS[load.kind](load.amount, plan.seed)
            await generator.open_loop(client, plan.requests, times, window.end)
        processes = await sampling
    finally:
        watching.cancel()
        sampling.cancel()
        client.close()
    return Trial(load, summarise(client.samples, window), processes)


async def _sample_processes(plan: Plan, window: Window) -> list[Usage]:
    """Return the use of CPU and memory by the server's processes during the window."""
    if plan.pid is None:
        return []
    begun, before = await _snapshot(plan.pid, window.start)
    ended, after = await _snapshot(plan.pid, window.end)
    return usage.between(before, after, ended - begun)


async def _snapshot(pid: int, due: float) -> tuple[float, dict[int, Process]]:
    """Return the time and the processes. A busy machine takes snapshots later than they are due."""
    await asyncio.sleep(max(0.0, due - time.perf_counter()))
    begun = time.perf_counter()
    return begun, await asyncio.to_thread(usage.snapshot, pid)  # reading /proc takes 10 ms, which would delay requests


async def _watch(client: Client, window: Window, begun: float, report: Callable[[Progress], None]) -> None:
    counted = good = 0
    while True:
        await asyncio.sleep(PROGRESS_S)
        new = client.samples[counted:]
        counted += len(new)
        fresh = sum(sample.outcome == OK for sample in new)
        good += fresh
        share = min(1.0, (time.perf_counter() - begun) / (window.end - begun))
        report(Progress(share, good, fresh / PROGRESS_S, client.in_flight, counted - good))
