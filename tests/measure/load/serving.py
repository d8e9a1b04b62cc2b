"""A small real HTTP server with configurable delays, replies and faults."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from service.measure.load.generator import sleep_until
from service.measure.load.http_connection import Address


@dataclass(frozen=True)
class Answer:
    """The reply to one request: status, headers and body after a delay, or `raw` bytes, or a closed connection."""

    delay_s: float = 0.0
    status: int = 200
    headers: tuple[str, ...] = ()
    body: bytes = b'{"results": []}'
    raw: bytes | None = None
    cut: bool = False


@dataclass
class Server:
    """A server that calls `answer` with the number of each request, and can process `one_at_a_time`."""

    answer: Callable[[int], Answer] = lambda _: Answer()
    one_at_a_time: bool = False
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    address: Address = field(default_factory=lambda: Address("127.0.0.1", 0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self._answer_all(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            self.requests.append((head, await reader.readexactly(length)))
            answer = self.answer(next(self._numbers))
            async with self._turn if self.one_at_a_time else asyncio.Semaphore():
                await sleep_until(time.perf_counter() + answer.delay_s)
            if answer.cut:
                return
            lines = [f"HTTP/1.1 {answer.status} Any", f"Content-Length: {len(answer.body)}", *answer.headers]
            writer.write(answer.raw or "\r\n".join([*lines, "", ""]).encode() + answer.body)

    def __post_init__(self) -> None:
        self._numbers = count()
        self._turn = asyncio.Semaphore(1)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """Run the server on a free port."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.address = Address("127.0.0.1", listening.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listening.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for the last callbacks of the transports
