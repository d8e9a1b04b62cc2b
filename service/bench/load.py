"""Sending: a closed loop that waits for answers, and an open one that sends when it is time to."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import cycle, takewhile
from typing import NamedTuple

from service.bench.wire import Address, Connection, ConnectionLostError, Reply, Request

OK = "ok"
TIMED_OUT = "timeout"
UNREACHED = "no connection"
LOST = "connection lost"


class Sample(NamedTuple):
    """One request: when it was due, sent and over (seconds of one clock), how it went, its pictures, its stages."""

    scheduled: float
    sent: float
    ended: float
    outcome: str
    pictures: int
    stages: dict[str, float]

    @property
    def latency_s(self) -> float:
        """From when it was due, not from when it was sent: waiting for a late generator or connection counts."""
        return self.ended - self.scheduled


class Client:
    """Sends requests over as many connections as are needed, at most `connections`, and writes down what came back."""

    def __init__(self, address: Address, connections: int, timeout_s: float) -> None:
        self.samples: list[Sample] = []
        self.in_flight = 0
        self._address = address
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(connections)
        self._idle: deque[Connection] = deque()

    async def send(self, request: Request, scheduled: float | None = None) -> Reply | None:
        """Send one request and add its sample; `scheduled` is now where it is not given."""
        scheduled = time.perf_counter() if scheduled is None else scheduled
        self.in_flight += 1
        async with self._free:
            sent = time.perf_counter()
            outcome, reply = await self._exchange(request)
            ended = time.perf_counter()
        self.in_flight -= 1
        stages = stages_of(reply.headers.get("server-timing", "")) if reply else {}
        self.samples.append(Sample(scheduled, sent, ended, outcome, request.pictures, stages))
        return reply

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            connection.close()

    async def _exchange(self, request: Request) -> tuple[str, Reply | None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._connection()
                reply = await connection.exchange(request.wire)
        except TimeoutError:
            return TIMED_OUT, None
        except ConnectionLostError:
            return LOST, None
        except OSError:
            return UNREACHED, None
        if connection.usable:
            self._idle.append(connection)
        return outcome_of(reply), reply

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return await Connection.open(self._address)


async def closed(client: Client, requests: Sequence[Request], concurrency: int, until: float) -> None:
    """`concurrency` callers, each of whom sends its next request when it has its answer, until the clock says so."""
    turns = cycle(requests)

    async def caller() -> None:
        while time.perf_counter() < until:
            await client.send(next(turns))

    await asyncio.gather(*(caller() for _ in range(concurrency)))


async def opened(client: Client, requests: Sequence[Request], times: Iterator[float], until: float) -> None:
    """Send when `times` (seconds from now) say so, whatever is still unanswered; wait for the answers at the end."""
    start = time.perf_counter()
    turns = cycle(requests)
    async with asyncio.TaskGroup() as group:
        for due in takewhile(lambda due: due < until, (start + each for each in times)):
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            group.create_task(client.send(next(turns), due))


Send = Callable[[Client, Sequence[Request], float], Awaitable[None]]


def stages_of(server_timing: str) -> dict[str, float]:
    """Milliseconds by name of a `Server-Timing` header (W3C Server Timing); metrics without a duration are left out."""
    found = {}
    for metric in server_timing.split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "dur":
                found[name] = float(value)
    return found


def outcome_of(reply: Reply) -> str:
    """`ok`, or the status and the code of the problem, of the request or of a picture in it."""
    if reply.status == 200 and b'"error":' not in reply.body:
        return OK
    try:
        document = json.loads(reply.body)
        codes = [document.get("code"), *(row.get("error", {}).get("code") for row in document.get("results", []))]
    except (ValueError, AttributeError):
        codes = []
    code = next((code for code in codes if code), None)
    if code is None and 200 <= reply.status < 300:
        return OK
    return f"{reply.status} {code}" if code else str(reply.status)
