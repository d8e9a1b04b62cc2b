"""The load generator: a closed loop that waits for each reply, and an open loop that sends on a schedule."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from itertools import cycle, takewhile
from typing import Any, NamedTuple, TypeVar

import orjson
import uvloop

from service.measure.load.http_connection import Address, Connection, ConnectionLostError, Reply, Request

OK = "ok"
TIMED_OUT = "timeout"
UNREACHED = "no connection"
LOST = "connection lost"

Response = TypeVar("Response")


def run(main: Coroutine[Any, Any, Response]) -> Response:
    """Run `main` on uvloop, as the gateway does, and return its result."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


class Sample(NamedTuple):
    """A finished request. Times are seconds of `time.perf_counter`."""

    scheduled: float
    sent: float
    ended: float
    outcome: str
    images: int
    server_timing: str

    @property
    def latency_s(self) -> float:
        """Seconds from the scheduled time to the reply, so that a late generator or a wait for a connection counts."""
        return self.ended - self.scheduled

    @property
    def stages(self) -> dict[str, float]:
        """The milliseconds of each stage in `Server-Timing`. The header is parsed on access, not under load."""
        return parse_server_timing(self.server_timing)


class Client:
    """Sends requests over at most `connections` connections, opened on demand, and records a sample of each."""

    def __init__(self, address: Address, connections: int, timeout_s: float) -> None:
        self.samples: list[Sample] = []
        self.in_flight = 0
        self._address = address
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(connections)
        self._idle: deque[Connection] = deque()

    async def send(self, request: Request, scheduled: float | None = None) -> Reply | None:
        """Send a request, record its sample and return the reply, or None if none came. `scheduled` defaults to now."""
        scheduled = time.perf_counter() if scheduled is None else scheduled
        self.in_flight += 1
        async with self._free:
            sent = time.perf_counter()
            outcome, reply = await self._exchange(request)
            ended = time.perf_counter()
        self.in_flight -= 1
        server_timing = reply.headers.get("server-timing", "") if reply else ""
        self.samples.append(Sample(scheduled, sent, ended, outcome, request.images, server_timing))
        return reply

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.close()

    async def _exchange(self, request: Request) -> tuple[str, Reply | None]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        try:
            connection = await self._connection(deadline)
            # A timer takes 2.5 us of CPU time, `asyncio.timeout` takes 5.
            timer = loop.call_at(deadline, connection.give_up)
            try:
                reply = await connection.exchange(request.wire)
            finally:
                timer.cancel()
        except TimeoutError:
            return TIMED_OUT, None
        except ConnectionLostError:
            return LOST, None
        except OSError:
            return UNREACHED, None
        if connection.usable:
            self._idle.append(connection)
        return outcome_of(reply), reply

    async def _connection(self, deadline: float) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        async with asyncio.timeout_at(deadline):
            return await Connection.open(self._address)


async def closed_loop(client: Client, requests: Sequence[Request], concurrency: int, until: float) -> None:
    """Run `concurrency` callers, each of which sends its next request after a reply, until the time `until`."""
    repeated = cycle(requests)

    async def caller() -> None:
        while time.perf_counter() < until:
            await client.send(next(repeated))

    await asyncio.gather(*(caller() for _ in range(concurrency)))


async def open_loop(client: Client, requests: Sequence[Request], times: Iterator[float], until: float) -> None:
    """Send at each of `times` (seconds from now) without waiting for replies, then wait for all replies."""
    start = time.perf_counter()
    repeated = cycle(requests)
    async with asyncio.TaskGroup() as group:
        for due in takewhile(lambda due: due < until, (start + each for each in times)):
            await sleep_until(due)
            group.create_task(client.send(next(repeated), due))


async def sleep_until(due: float) -> None:
    """Sleep until `time.perf_counter()` reaches `due`, in several sleeps: uvloop's timers end up to 1.4 ms early."""
    while (pause := due - time.perf_counter()) > 0:  # noqa: ASYNC110 - rarely more than one sleep
        await asyncio.sleep(math.ceil(pause * 1e3) / 1e3)


def parse_server_timing(server_timing: str) -> dict[str, float]:
    """Return the milliseconds of each metric in a `Server-Timing` header (W3C). Skip metrics without a duration."""
    found: dict[str, float] = {}
    for metric in server_timing.split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "dur":
                with suppress(ValueError):  # one invalid header must not end a measurement
                    if math.isfinite(duration := float(value)):
                        found[name] = duration
    return found


def outcome_of(reply: Reply) -> str:
    """Return `ok`, or the status and the problem code of the request or of the first image that failed."""
    if reply.status == 200 and b'"error":' not in reply.body:
        return OK
    try:
        document = orjson.loads(reply.body)
        code = document.get("code") or _first_code(document)
    except (ValueError, AttributeError):
        code = None
    if code is None and 200 <= reply.status < 300:
        return OK
    return f"{reply.status} {code}" if code else str(reply.status)


def _first_code(document: dict[str, Any]) -> Any:
    """Return the problem code of the first image that has one."""
    codes = (row.get("error", {}).get("code") for row in document.get("results", []))
    return next((code for code in codes if code), None)
