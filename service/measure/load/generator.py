"""Sending: a closed loop that waits for answers, and an open one that sends when it is time to."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from itertools import cycle, takewhile
from typing import Any, NamedTuple, TypeVar

import orjson
import uvloop

from service.measure.load.wire import Address, Connection, ConnectionLostError, Reply, Request

OK = "ok"
TIMED_OUT = "timeout"
UNREACHED = "no connection"
LOST = "connection lost"

Response = TypeVar("Response")


def run(main: Coroutine[Any, Any, Response]) -> Response:
    """What `main` returns, which sends: on uvloop, as the gateway."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


class Sample(NamedTuple):
    """One request: when it was due, sent and over (seconds of a clock), how it went, its pictures, `Server-Timing`."""

    scheduled: float
    sent: float
    ended: float
    outcome: str
    pictures: int
    server_timing: str

    @property
    def latency_s(self) -> float:
        """From when it was due, not from when it was sent: waiting for a late generator or connection counts."""
        return self.ended - self.scheduled

    @property
    def stages(self) -> dict[str, float]:
        """The milliseconds that the server told: read when they are asked for, which is not under load."""
        return stages_of(self.server_timing)


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
        server_timing = reply.headers.get("server-timing", "") if reply else ""
        self.samples.append(Sample(scheduled, sent, ended, outcome, request.pictures, server_timing))
        return reply

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            connection.close()

    async def _exchange(self, request: Request) -> tuple[str, Reply | None]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        try:
            connection = await self._connection(deadline)
            # 2.5 us of a core, where `asyncio.timeout` takes 5.
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
            await not_before(due)
            group.create_task(client.send(next(turns), due))


async def not_before(due: float) -> None:
    """Wait until `time.perf_counter()` has come to `due`: uvloop's timers end up to 1.4 ms early."""
    while (pause := due - time.perf_counter()) > 0:  # noqa: ASYNC110 - rarely twice
        await asyncio.sleep(math.ceil(pause * 1e3) / 1e3)


Send = Callable[[Client, Sequence[Request], float], Awaitable[None]]


def stages_of(server_timing: str) -> dict[str, float]:
    """Milliseconds by name of a `Server-Timing` header (W3C Server Timing); metrics without a duration are left out."""
    found: dict[str, float] = {}
    for metric in server_timing.split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "dur":
                with suppress(ValueError):  # what one odd answer says must not end a measurement
                    if math.isfinite(told := float(value)):
                        found[name] = told
    return found


def outcome_of(reply: Reply) -> str:
    """`ok`, or the status and the code of the problem, of the request or of a picture in it."""
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
    """The code of the first picture's problem."""
    codes = (row.get("error", {}).get("code") for row in document.get("results", []))
    return next((code for code in codes if code), None)
