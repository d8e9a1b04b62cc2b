"""Runs work on untrusted bytes in processes that may crash, hang or use much memory without harm to anything else.

The processes are forked from a clean server process that has imported what they need (multiprocessing's forkserver).
So a lost process is replaced within some tens of milliseconds, and no thread's lock is forked. A job and its outcome
go through one socket. Only the process parses the caller's bytes.
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
from service.gateway.metrics import LOSS_REASONS
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import DEFAULT_URGENCY
from service.gateway.uploads import pickle_frames
from service.gateway.uploads.pool_worker import ProcessLimits, serve
from service.gateway.uploads.threads import ThreadPool

log = logging.getLogger(__name__)

Result = TypeVar("Result")

GRACE_S = 0.25  # for a job that was given up: most end by themselves sooner than a new process would start
JOIN_S = 5.0
SOCKET_BUFFER: Final = 1 << 20  # bytes; the kernel may allow fewer
PRELOAD = [
    "__main__",
    "service.tasks.decode_jobs",
    "service.gateway.uploads.pool_worker",
    "service.imaging.mask_painting",
]

# The loss reason by exit code. multiprocessing reports 255 for a process whose exit it missed because the fork server
# ended. The image did not cause that. Nor did it cause SIGKILL or SIGTERM, which come from the kernel when memory is
# short, or from an operator.
SPINNING, KILLED, CRASHED, GIVEN_UP = LOSS_REASONS
REASON_OF_EXIT_CODE: Final = {-signal.SIGXCPU: SPINNING, -signal.SIGKILL: KILLED, -signal.SIGTERM: KILLED, 255: KILLED}


# multiprocessing polls all its other children when it starts one. Two polls at the same time lose an exit code.
POLL_LOCK: Final = threading.Lock()


class _LostError(Exception):
    """The process ended during its job; `reason` is one of `LOSS_REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Job:
    """A packed job, the worker that runs it, and whether it was abandoned."""

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.parts = pickle_frames.pack((work, tuple(pickle_frames.out_of_band(arg) for arg in args)))
        self.worker: _Worker | None = None
        self.abandoned = False

    def abandon(self) -> None:
        """Give the job up, and kill its process if it still runs after `GRACE_S`."""
        self.abandoned = True
        asyncio.get_running_loop().call_later(GRACE_S, self._kill)

    def _kill(self) -> None:
        if self.worker is not None:
            self.worker.kill()


class _Worker:
    """One process and the socket to it."""

    def __init__(self, process: BaseProcess, link: socket.socket, max_bytes: int) -> None:
        self.process = process
        self._link = link
        self._max_bytes = max_bytes  # of an outcome

    @classmethod
    def start(cls, limits: ProcessLimits, nice: int) -> "_Worker":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                for end in (ours, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
                process = context.Process(target=serve, args=(theirs, limits, nice), daemon=True)
                with POLL_LOCK:
                    process.start()
        except BaseException:
            ours.close()
            raise
        ours.settimeout(0)
        return cls(process, ours, limits.memory)

    async def run(self, parts: Sequence[memoryview]) -> tuple[bool, Any]:
        """Return the outcome of a packed job.

        Raises `OSError` if the process ends, and any exception if it sends something other than a frame.
        """
        await self._send(parts)
        size, count = pickle_frames.HEAD.unpack(await self._receive(pickle_frames.HEAD.size))
        head = await self._receive(count * pickle_frames.LENGTH.size + size)
        buffers = [await self._receive(length) for length in pickle_frames.lengths(head, count)]
        return cast("tuple[bool, Any]", pickle_frames.unpack(head, count, buffers))

    @property
    def is_idle(self) -> bool:
        """Whether the process lives and has not sent anything without a job."""
        try:
            self._link.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()

    def join(self) -> int | None:
        """Wait until the process has ended, killing it if necessary; return its exit code, negative for a signal."""
        self._link.close()
        with POLL_LOCK:
            self.process.join(JOIN_S)
            self.process.kill()
            self.process.join(JOIN_S)
            return self.process.exitcode

    async def _send(self, parts: Sequence[memoryview]) -> None:
        loop = asyncio.get_running_loop()
        for part in pickle_frames.remaining(parts, self._link.sendmsg(parts)):
            await loop.sock_sendall(self._link, part)

    async def _receive(self, length: int) -> bytearray:
        loop = asyncio.get_running_loop()
        if length > self._max_bytes:
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
    """Processes of one niceness that run jobs from a fair queue."""

    def __init__(
        self, count: int, limits: ProcessLimits, on_lost: Callable[[str], None] = lambda _reason: None, nice: int = 0
    ) -> None:
        """Prepare `count` processes; call `on_lost` with one of `LOSS_REASONS` for each that ends during its job.

        `nice` is the same for all jobs, because a process without privileges may raise its niceness but not lower it.
        """
        self._count = count
        self._limits = limits
        self._on_lost = on_lost
        self._nice = nice
        self._queue = FairQueue(lambda: self._count)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._starting: set[asyncio.Future[_Worker]] = set()
        self._thread = ThreadPool(1, "decoders")  # one thread, because of `POLL_LOCK`

    @property
    def has_room(self) -> bool:
        """Whether one more job would delay no other one; for a single process, whether it is idle."""
        return self._queue.is_quiet or (self._count == 1 and self._queue.is_idle)

    async def warm(self) -> None:
        """Start all processes, so that no image waits for one. Otherwise each starts when it is needed."""
        try:
            await asyncio.gather(*(self.run(int, caller=self) for _ in range(self._count)))
        except ServiceError as error:
            log.error("no decode process could be started: %s", error)

    async def run(
        self,
        work: Callable[..., Result],
        *args: Any,
        caller: Hashable = "",
        urgency: int = DEFAULT_URGENCY,
        cost: float = 1.0,
    ) -> Result:
        """Return what `work`, a function of a module, returns, or raise what it raises.

        Raises `ImageCorrupt` if it ends its process, `ImageTooCostly` if it exceeds its limits, and `Overloaded` if
        the process is ended from outside twice. A job that is cancelled while it waits never starts; a running one is
        ended.
        """
        job = _Job(work, args)
        queued = self._queue.run(lambda: self._run_with_retry(job), caller, urgency=urgency, cost=cost)
        try:
            succeeded, outcome = await queued
        except asyncio.CancelledError:
            job.abandon()
            raise
        if isinstance(outcome, MemoryError):
            raise ImageTooCostly("The image takes more memory to decode than allowed.") from None
        if not succeeded:
            raise outcome
        return cast("Result", outcome)

    async def close(self) -> None:
        """Cancel the jobs and end the processes."""
        await self._queue.close()
        await asyncio.gather(*self._starting, return_exceptions=True)
        self._thread.close()
        for worker in self._all:
            worker.kill()
        for worker in self._all:
            worker.join()
        self._all.clear()
        self._idle.clear()

    async def _run_with_retry(self, job: _Job) -> tuple[bool, Any]:
        try:
            return await self._run_once(job)
        except _LostError as lost:
            if lost.reason != KILLED:
                raise _problem_of(lost.reason) from None
        try:
            return await self._run_once(job)
        except _LostError as lost:
            raise _problem_of(lost.reason) from None

    async def _run_once(self, job: _Job) -> tuple[bool, Any]:
        worker = await self._idle_worker()
        if job.abandoned:  # while its process started
            self._idle.append(worker)
            raise _LostError(GIVEN_UP)
        job.worker = worker
        try:
            outcome = await worker.run(job.parts)
        except OSError as error:
            raise _LostError(await self._remove(worker, GIVEN_UP if job.abandoned else None)) from error
        except Exception as error:  # it did not send a frame, so the job may control the process
            worker.kill()
            raise _LostError(await self._remove(worker, CRASHED)) from error
        finally:
            job.worker = None
        self._idle.append(worker)
        return outcome

    async def _idle_worker(self) -> _Worker:
        """Return an idle process or a new one. No image is blamed for a process that ended while idle."""
        while self._idle:
            worker = self._idle.pop()
            if worker.is_idle:
                return worker
            await self._remove(worker, KILLED)
        return await self._start()

    async def _remove(self, worker: _Worker, known: str | None = None) -> str:
        """Remove a process that has ended, and return the reason: `known`, or by its exit code."""
        self._all.discard(worker)
        code = await self._thread.run(worker.join)
        reason = known or (CRASHED if code is None else REASON_OF_EXIT_CODE.get(code, CRASHED))
        self._on_lost(reason)
        return reason

    async def _start(self) -> _Worker:
        starting = asyncio.ensure_future(self._thread.run(_Worker.start, self._limits, self._nice))
        self._starting.add(starting)
        starting.add_done_callback(self._started)
        try:
            return await asyncio.shield(starting)  # a thread cannot be cancelled, and the process must be ended
        except (OSError, EOFError) as error:
            raise Overloaded(f"No decode process could be started: {type(error).__name__}.") from error

    def _started(self, starting: "asyncio.Future[_Worker]") -> None:
        self._starting.discard(starting)
        if not starting.cancelled() and starting.exception() is None:
            self._all.add(starting.result())


def _problem_of(reason: str) -> ServiceError:
    """Return the problem for a lost process. It is not read if the job was given up."""
    if reason == KILLED:
        return Overloaded("The process that decoded the image was killed, possibly because memory was short.")
    if reason == CRASHED:
        return ImageCorrupt("The image crashed the decoder.")
    return ImageTooCostly("The image takes too long to decode.")
