"""One load on one service: warm up, measure, and look at what it takes of the machine meanwhile."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.measure.load import generator as load
from service.measure.load import usage
from service.measure.load.arrivals import ARRIVALS
from service.measure.load.generator import OK, Client
from service.measure.load.summary import Summary, Window, summarise
from service.measure.load.usage import Process, Usage
from service.measure.load.wire import Address, Reply, Request

Kind = Literal["closed", "poisson", "constant"]

PROGRESS_S = 0.5
TOLD_BYTES = 300  # of a refusal's body


class RefusedError(RuntimeError):
    """The service does not answer a picture before any load; the message is one sentence for who measures."""


@dataclass(frozen=True)
class Load:
    """So many callers who wait for their answers (`closed`), or so many requests a second whether or not they come."""

    kind: Kind
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:g} at a time" if self.kind == "closed" else f"{self.amount:.4g} req/s {self.kind}"


@dataclass(frozen=True)
class Plan:
    """What is the same for every load of a measurement. An open loop has at most `connections` requests under way."""

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
    """A load, what it gave, and what the server's processes took; no `processes` where they cannot be seen."""

    load: Load
    summary: Summary
    processes: list[Usage] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """A trial under way: the share of its time that is over, good answers so far and of the last second, the rest."""

    share: float
    done: int
    per_s: float
    in_flight: int
    errors: int


async def probe(plan: Plan) -> Reply:
    """The reply to the first of the requests, after each was answered once, alone. Raises `RefusedError`."""
    client = Client(plan.address, 1, plan.timeout_s)
    try:
        replies = [await client.send(request) for request in plan.requests]
    finally:
        client.close()
    for sample, reply in zip(client.samples, replies, strict=True):
        if sample.outcome != OK:
            said = reply.body[:TOLD_BYTES].decode(errors="replace") if reply else ""
            where = f"{plan.address.host} port {plan.address.port}"
            raise RefusedError(f"{where} does not answer a picture: {sample.outcome} {said}".rstrip())
    first = replies[0]
    assert first is not None  # noqa: S101 - for the type checker: its outcome was ok
    return first


async def trial(plan: Plan, chosen: Load, tell: Callable[[Progress], None] = lambda _: None) -> Trial:
    """Put one load on the service; `tell` is called twice a second."""
    concurrency = int(chosen.amount) if chosen.kind == "closed" else plan.connections
    client = Client(plan.address, concurrency, plan.timeout_s)
    begun = time.perf_counter()
    window = Window(begun + plan.warm_up_s, begun + plan.warm_up_s + plan.seconds)
    watching = asyncio.create_task(_watch(client, window, begun, tell))
    looking = asyncio.create_task(_look(plan, window))
    try:
        if chosen.kind == "closed":
            await load.closed(client, plan.requests, concurrency, window.end)
        else:
            times = ARRIVALS[chosen.kind](chosen.amount, plan.seed)
            await load.opened(client, plan.requests, times, window.end)
        processes = await looking
    finally:
        watching.cancel()
        looking.cancel()
        client.close()
    return Trial(chosen, summarise(client.samples, window), processes)


async def _look(plan: Plan, window: Window) -> list[Usage]:
    """The processes between the window's beginning and its end."""
    if plan.pid is None:
        return []
    before = await _snapshot(plan.pid, window.start)
    after = await _snapshot(plan.pid, window.end)
    return usage.between(before, after, window.end - window.start)


async def _snapshot(pid: int, due: float) -> dict[int, Process]:
    await asyncio.sleep(max(0.0, due - time.perf_counter()))
    return await asyncio.to_thread(usage.snapshot, pid)  # 10 ms of reading /proc would delay what is to be sent


async def _watch(client: Client, window: Window, begun: float, tell: Callable[[Progress], None]) -> None:
    counted = good = 0
    while True:
        await asyncio.sleep(PROGRESS_S)
        new = client.samples[counted:]
        counted += len(new)
        fresh = sum(sample.outcome == OK for sample in new)
        good += fresh
        share = min(1.0, (time.perf_counter() - begun) / (window.end - begun))
        tell(Progress(share, good, fresh / PROGRESS_S, client.in_flight, counted - good))
