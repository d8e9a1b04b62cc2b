"""Work on hostile bytes, in processes that may crash, spin or swell without anybody else's noticing.

The processes are forked from a server that was started clean and has imported what they need (multiprocessing's
forkserver), so that a lost one is replaced within some tens of milliseconds and no thread's lock is forked. A job and
its outcome go through one socket; the caller's bytes are read in the process only.
"""

import asyncio
import logging
import multiprocessing
import signal
import socket
import threading
from collections.abc import Callable, Hashable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, Final, TypeVar, cast

from service.errors import ImageCorrupt, ImageTooCostly, Overloaded, ServiceError
from service.gateway.metrics import REASONS
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import URGENCY
from service.gateway.uploads import pickle_frames
from service.gateway.uploads.pool_worker import ProcessLimits, serve
from service.gateway.uploads.threads import ThreadPool

log = logging.getLogger(__name__)

Result = TypeVar("Result")

GRACE_S = 0.25  # for a job that nobody waits for any more: most end by themselves in less than a new process takes
JOIN_S = 5.0
SOCKET_BUFFER: Final = 1 << 20  # bytes; the kernel gives what it allows
PRELOAD = ["__main__", "service.tasks.decoded", "service.gateway.uploads.pool_worker", "service.imaging.mask_painting"]

# Why processes are lost. An exit code of 255 is multiprocessing's for one that it lost sight
# of, since the server that forked it ended; like signals of the kernel's, for want of memory, and of an operator's it
# is nothing that the picture did.
SPINNING, KILLED, CRASHED, GIVEN_UP = REASONS
LOST: Final = {-signal.SIGXCPU: SPINNING, -signal.SIGKILL: KILLED, -signal.SIGTERM: KILLED, 255: KILLED}


# multiprocessing looks after all its other children as it starts one, and two looks at once lose an exit code.
LOOKING: Final = threading.Lock()


class _LostError(Exception):
    """The process ended under its job; why, of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Job:
    """What is to be done, who does it, and whether nobody waits for it any more."""

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.parts = pickle_frames.pack((work, tuple(pickle_frames.beside(arg) for arg in args)))
        self.worker: _Worker | None = None
        self.abandoned = False

    def abandon(self) -> None:
        """Give it up, and end the process that is still at it after a grace."""
        self.abandoned = True
        asyncio.get_running_loop().call_later(GRACE_S, self._kill)

    def _kill(self) -> None:
        if self.worker is not None:
            self.worker.kill()


class _Worker:
    """One process and the socket to it."""

    def __init__(self, process: BaseProcess, link: socket.socket, most: int) -> None:
        self.process = process
        self._link = link
        self._most = most  # bytes that an outcome may have

    @classmethod
    def start(cls, bounds: ProcessLimits, nice: int) -> "_Worker":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                for end in (ours, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
                process = context.Process(target=serve, args=(theirs, bounds, nice), daemon=True)
                with LOOKING:
                    process.start()
        except BaseException:
            ours.close()
            raise
        ours.settimeout(0)
        return cls(process, ours, bounds.memory)

    async def ask(self, parts: Sequence[memoryview]) -> tuple[bool, Any]:
        """The outcome of a packed job. Raises `OSError` where the process ends, anything for what is no frame."""
        await self._send(parts)
        size, count = pickle_frames.HEAD.unpack(await self._receive(pickle_frames.HEAD.size))
        head = await self._receive(count * pickle_frames.LENGTH.size + size)
        buffers = [await self._receive(length) for length in pickle_frames.lengths(head, count)]
        return cast("tuple[bool, Any]", pickle_frames.unpack(head, count, buffers))

    @property
    def waits(self) -> bool:
        """Whether it lives and has said nothing unasked."""
        try:
            self._link.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()

    def end(self) -> int | None:
        """Give back what it had, once it has ended, by force if need be; its exit code, negative for a signal."""
        self._link.close()
        with LOOKING:
            self.process.join(JOIN_S)
            self.process.kill()
            self.process.join(JOIN_S)
            return self.process.exitcode

    async def _send(self, parts: Sequence[memoryview]) -> None:
        loop = asyncio.get_running_loop()
        for part in pickle_frames.rest(parts, self._link.sendmsg(parts)):
            await loop.sock_sendall(self._link, part)

    async def _receive(self, length: int) -> bytearray:
        loop = asyncio.get_running_loop()
        if length > self._most:
            raise ValueError
        received = bytearray(length)
        view, at = memoryview(received), 0
        while at < length:
            count = await loop.sock_recv_into(self._link, view[at:])
            if count == 0:
                raise ConnectionResetError
            at += count
        return received


class ProcessPool:
    """So many processes of one niceness, which do their jobs in turn."""

    def __init__(
        self, count: int, bounds: ProcessLimits, lost: Callable[[str], None] = lambda _reason: None, nice: int = 0
    ) -> None:
        """`lost` is told of each process that ended under its job, with one of `REASONS`.

        `nice` is set once for all jobs: a process without privileges may raise its niceness, and never lower it.
        """
        self._count = count
        self._bounds = bounds
        self._lost = lost
        self._nice = nice
        self._turns = FairQueue(lambda: self._count)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._starting: set[asyncio.Future[_Worker]] = set()
        self._thread = ThreadPool(1, "decoders")  # one: each waits for the others

    @property
    def are_quiet(self) -> bool:
        """Whether a job more would make no other one wait; of a lone process, whether it has none."""
        return self._turns.is_quiet or (self._count == 1 and self._turns.is_idle)

    async def warm(self) -> None:
        """Start them all, so that no picture waits for one; without it each starts when it is needed."""
        try:
            await asyncio.gather(*(self.run(int, caller=self) for _ in range(self._count)))
        except ServiceError as error:
            log.error("no process that decodes could be started: %s", error)

    async def run(
        self,
        work: Callable[..., Result],
        *args: Any,
        caller: Hashable = "",
        urgency: int = URGENCY,
        cost: float = 1.0,
    ) -> Result:
        """What `work`, a module's function, returns or raises.

        Raises `ImageCorrupt` where it ends its process, `ImageTooCostly` where it takes more than its bounds,
        `Overloaded` where the process is ended from outside twice. A job that is cancelled while it waits is never
        begun, a running one is ended.
        """
        job = _Job(work, args)
        turn = self._turns.run(lambda: self._twice(job), caller, urgency=urgency, cost=cost)
        try:
            answered, outcome = await turn
        except asyncio.CancelledError:
            job.abandon()
            raise
        if isinstance(outcome, MemoryError):
            raise ImageTooCostly("The picture takes more memory to decode than it may.") from None
        if not answered:
            raise outcome
        return cast("Result", outcome)

    async def close(self) -> None:
        """Cancel the jobs and end the processes."""
        await self._turns.close()
        await asyncio.gather(*self._starting, return_exceptions=True)
        self._thread.close()
        for worker in self._all:
            worker.kill()
        for worker in self._all:
            worker.end()
        self._all.clear()
        self._idle.clear()

    async def _twice(self, job: _Job) -> tuple[bool, Any]:
        try:
            return await self._once(job)
        except _LostError as lost:
            if lost.reason != KILLED:
                raise _blame(lost.reason) from None
        try:
            return await self._once(job)
        except _LostError as lost:
            raise _blame(lost.reason) from None

    async def _once(self, job: _Job) -> tuple[bool, Any]:
        worker = await self._take()
        if job.abandoned:  # while its process started
            self._idle.append(worker)
            raise _LostError(GIVEN_UP)
        job.worker = worker
        try:
            outcome = await worker.ask(job.parts)
        except OSError as error:
            raise _LostError(await self._lose(worker, GIVEN_UP if job.abandoned else None)) from error
        except Exception as error:  # it sent what is no frame: it is not its own master any more
            worker.kill()
            raise _LostError(await self._lose(worker, CRASHED)) from error
        finally:
            job.worker = None
        self._idle.append(worker)
        return outcome

    async def _take(self) -> _Worker:
        """An idle process, or a new one; those that ended while idle are no picture's fault."""
        while self._idle:
            worker = self._idle.pop()
            if worker.waits:
                return worker
            await self._lose(worker, KILLED)
        return await self._start()

    async def _lose(self, worker: _Worker, known: str | None = None) -> str:
        """Bury a process, and tell why it ended."""
        self._all.discard(worker)
        code = await self._thread.run(worker.end)
        reason = known or (CRASHED if code is None else LOST.get(code, CRASHED))
        self._lost(reason)
        return reason

    async def _start(self) -> _Worker:
        starting = asyncio.ensure_future(self._thread.run(_Worker.start, self._bounds, self._nice))
        self._starting.add(starting)
        starting.add_done_callback(self._started)
        try:
            return await asyncio.shield(starting)  # a thread cannot be cancelled, and what it started must be ended
        except (OSError, EOFError) as error:
            raise Overloaded(f"No process to decode in could be started: {type(error).__name__}.") from error

    def _started(self, starting: "asyncio.Future[_Worker]") -> None:
        self._starting.discard(starting)
        if not starting.cancelled() and starting.exception() is None:
            self._all.add(starting.result())


def _blame(reason: str) -> ServiceError:
    """Whose fault a lost process is; nobody reads it where the job was given up."""
    if reason == KILLED:
        return Overloaded("The process that decoded the picture was ended, for want of memory perhaps.")
    if reason == CRASHED:
        return ImageCorrupt("The picture ended the program that decodes it.")
    return ImageTooCostly("The picture takes too long to decode.")
