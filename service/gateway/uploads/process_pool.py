"""Runs work on untrusted bytes in processes that may crash, hang or use much memory without harm to anything else.

The processes are forked from a clean server process that has imported what they need (multiprocessing's forkserver).
So a lost process is replaced within some tens of milliseconds, and no thread's lock is forked. A job and its outcome
go through one socket. Only the process parses the caller's bytes.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from service.errors import DecodersUnavailable, ImageCorrupt, ImageTooCostly, Overloaded, ServiceError
from service.gateway.metrics import LOSS_REASONS
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import DEFAULT_URGENCY
from service.gateway.uploads import pickle_frames
from service.gateway.uploads.lease import Lease
from service.gateway.uploads.pool_process import MISSED, PoolProcess
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.threads import ThreadPool

log = logging.getLogger(__name__)

Result = TypeVar("Result")

GRACE_S = 0.25  # for a job that was given up: most end by themselves sooner than a new process would start

# The loss reason by exit code. The image did not cause an exit that was missed, because the fork server ended. Nor did
# it cause SIGKILL or SIGTERM, which come from the kernel when memory is short, or from an operator.
SPINNING, KILLED, CRASHED, GIVEN_UP = LOSS_REASONS
REASON_OF_EXIT_CODE: Final = {
    -signal.SIGXCPU: SPINNING,
    -signal.SIGKILL: KILLED,
    -signal.SIGTERM: KILLED,
    MISSED: KILLED,
}


class _LostError(Exception):
    """The process ended during its job; `reason` is one of `LOSS_REASONS`."""

    @property
    def reason(self) -> str:
        return str(self.args[0])


class _Job:
    """A job, the blocks of shared memory that it writes to, its worker, and whether it was abandoned."""

    def __init__(self, work: Callable[..., Any], args: tuple[Any, ...], lease: Lease | None) -> None:
        self._work = work
        self._args = tuple(pickle_frames.out_of_band(arg) for arg in args)
        self._lease = lease
        self.worker: PoolProcess | None = None
        self.abandoned = False

    def begin(self) -> list[memoryview]:
        """Return the packed job, whose last argument is its blocks if it has a lease."""
        blocks = () if self._lease is None else (self._lease.begin(),)
        return pickle_frames.pack((self._work, (*self._args, *blocks)))

    def end(self) -> None:
        """Note that no process writes to the job's blocks any more."""
        if self._lease is not None:
            self._lease.end()

    def abandon(self) -> None:
        """Give the job up, and kill its process if it still runs after `GRACE_S`."""
        self.abandoned = True
        asyncio.get_running_loop().call_later(GRACE_S, self._kill)

    def _kill(self) -> None:
        if self.worker is not None:
            self.worker.kill()


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
        self._idle: list[PoolProcess] = []
        self._all: set[PoolProcess] = set()
        self._starting: set[asyncio.Future[PoolProcess]] = set()
        self._failure: str | None = None  # why the last start of a process failed
        self._thread = ThreadPool(1, "decoders")  # one thread, because of `POLL_LOCK`

    @property
    def has_room(self) -> bool:
        """Whether one more job would delay no other one; for a single process, whether it is idle."""
        return self._queue.is_quiet or (self._count == 1 and self._queue.is_idle)

    @property
    def failure(self) -> str | None:
        """Why there is no process; None if there is one, or none was needed yet."""
        return None if self._all else self._failure

    async def warm(self) -> None:
        """Start all processes, so that no image waits for one. Otherwise each starts when it is needed."""
        with suppress(ServiceError):
            await asyncio.gather(*(self.run(int, caller=self) for _ in range(self._count)))

    async def run(
        self,
        work: Callable[..., Result],
        *args: Any,
        caller: Hashable = "",
        urgency: int = DEFAULT_URGENCY,
        cost: float = 1.0,
        lease: Lease | None = None,
    ) -> Result:
        """Return what `work`, a function of a module, returns, or raise what it raises.

        With a `lease`, `work` gets its blocks as the last argument.

        Raises `ImageCorrupt` if it ends its process, `ImageTooCostly` if it exceeds its limits, `Overloaded` if the
        process is ended from outside twice, and `DecodersUnavailable`. A job that is cancelled is ended, if it runs.
        """
        job = _Job(work, args, lease)
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
        for end in (PoolProcess.kill, PoolProcess.join):
            for worker in self._all:
                end(worker)
        self._all, self._idle = set(), []

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
            outcome = await worker.run(job.begin())
        except OSError as error:
            raise _LostError(await self._remove(worker, GIVEN_UP if job.abandoned else None, job)) from error
        except Exception as error:  # it did not send a frame, so the job may control the process
            worker.kill()
            raise _LostError(await self._remove(worker, CRASHED, job)) from error
        finally:
            job.worker = None
        job.end()
        self._idle.append(worker)
        return outcome

    async def _idle_worker(self) -> PoolProcess:
        """Return an idle process or a new one. No image is blamed for a process that ended while idle."""
        while self._idle:
            worker = self._idle.pop()
            if worker.is_idle:
                return worker
            await self._remove(worker, KILLED)
        return await self._start()

    async def _remove(self, worker: PoolProcess, known: str | None = None, job: _Job | None = None) -> str:
        """Remove a process that has ended during a job, or without one. Return `known` or the reason by its exit code.

        The blocks of the job are used again only if the process is certain to have ended.
        """
        self._all.discard(worker)
        code = await self._thread.run(worker.join)
        if job is not None and worker.has_ended:
            job.end()
        reason = known or (CRASHED if code is None else REASON_OF_EXIT_CODE.get(code, CRASHED))
        self._on_lost(reason)
        return reason

    async def _start(self) -> PoolProcess:
        starting = asyncio.ensure_future(self._thread.run(PoolProcess.start, self._limits, self._nice))
        self._starting.add(starting)
        starting.add_done_callback(self._started)
        try:
            return await asyncio.shield(starting)  # a thread cannot be cancelled, and the process must be ended
        except (OSError, EOFError) as error:
            log.warning("a decode process could not be started: %s", error)
            self._failure = f"No decode process could be started ({type(error).__name__})."
            raise DecodersUnavailable(self._failure) from error

    def _started(self, starting: "asyncio.Future[PoolProcess]") -> None:
        self._starting.discard(starting)
        if not starting.cancelled() and starting.exception() is None:
            self._all.add(starting.result())
            self._failure = None


def _problem_of(reason: str) -> ServiceError:
    """Return the problem for a lost process. It is not read if the job was given up."""
    if reason == KILLED:
        return Overloaded("The process that decoded the image was killed, possibly because memory was short.")
    if reason == CRASHED:
        return ImageCorrupt("The image crashed the decoder.")
    return ImageTooCostly("The image takes too long to decode.")
