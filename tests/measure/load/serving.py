"""A real, tiny HTTP server whose delays, answers and faults are known."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from service.measure.load.generator import not_before
from service.measure.load.wire import Address


@dataclass(frozen=True)
class Answer:
    """What one request gets: after so many seconds a status, headers and a body; `raw` bytes instead; a cut."""

    delay_s: float = 0.0
    status: int = 200
    headers: tuple[str, ...] = ()
    body: bytes = b'{"results": []}'
    raw: bytes | None = None
    cut: bool = False


@dataclass
class Server:
    """`answer` is asked with the number of each request; with `one_at_a_time` the others wait meanwhile."""

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
                await not_before(time.perf_counter() + answer.delay_s)
            if answer.cut:
                return
            lines = [f"HTTP/1.1 {answer.status} Any", f"Content-Length: {len(answer.body)}", *answer.headers]
            writer.write(answer.raw or "\r\n".join([*lines, "", ""]).encode() + answer.body)

    def __post_init__(self) -> None:
        self._numbers = count()
        self._turn = asyncio.Semaphore(1)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """The server on a free port."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.address = Address("127.0.0.1", listening.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listening.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports' last callbacks
