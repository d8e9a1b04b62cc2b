"""Send a request to one replica and, if that fails or is slow, once more to another (failover and hedging).

Both attempts share one deadline. Requests change nothing at a model server, so sending one twice is safe.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import BackendUnavailable, ServiceError
from service.gateway.backend.replicas import Replica, Replicas

Value = TypeVar("Value")

CHECK_INTERVAL_S = 0.25  # how often to check that the chosen replica still has a worker


class ReplicaError(Exception):
    """One replica failed, and another may succeed; `error` is raised if none does."""

    def __init__(
        self, error: ServiceError, *, retry_pause_s: float | None = None, counts_as_failure: bool = True
    ) -> None:
        """Allow a retry on the same replica after `retry_pause_s`, and count this for its circuit breaker or not."""
        super().__init__(str(error))
        self.error = error
        self.retry_pause_s = retry_pause_s
        self.counts_as_failure = counts_as_failure


class NotSentError(ReplicaError):
    """Nothing was sent, so trying the next replica is not a retry."""


@dataclass(frozen=True)
class Call(Generic[Value]):
    """A request for a model: how to send it to a replica, and after how many seconds to hedge.

    `model` is the name that the replicas know, and `label` the one that callers know.
    The failure of a batch is raised at once, since its images may succeed separately.
    `send` raises `ReplicaError`, or a `ServiceError` that the model returned for the images.
    """

    model: str
    send: Callable[[Replica], Awaitable[Value]]
    hedge_after_s: float
    is_batch: bool = False
    label: str = ""


class Failover:
    """Sends requests to replicas, and records the results in their circuit breakers."""

    def __init__(self, replicas: Replicas, on_retry: Callable[[str, str], None]) -> None:
        """Call `on_retry` after every retry with the model and `answered` or `failed`."""
        self._replicas = replicas
        self._on_retry = on_retry

    async def run(self, call: Call[Value]) -> Value:
        """Return the response of one replica, or of a second if the first fails or is slow.

        Raise the `ServiceError` of the model, or of the replica that failed last.
        """
        tried: list[Replica] = []
        first = asyncio.create_task(self._attempt(call, tried))
        running = {first}
        try:
            await self._wait_for_first(call, first, tried)
            if first.done() and (not isinstance(first.exception(), ReplicaError) or call.is_batch):
                return first.result()
            if not await self._can_retry(call.model, first, tried):
                return await first
            second = asyncio.create_task(self._attempt(call, tried))
            running.add(second)
            return await self._first_success(call.label or call.model, first, second)
        except ReplicaError as failed:
            raise failed.error from failed
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _wait_for_first(self, call: Call[Value], first: asyncio.Task[Value], tried: list[Replica]) -> None:
        """Wait for the first attempt, until it is time to hedge.

        Without a second replica, wait until it ends. Stop if the replica or its last worker is gone: what a dead worker
        was computing fails at once, but what TorchServe queued for it waits for the next worker.
        """
        hedge_at = asyncio.get_running_loop().time() + call.hedge_after_s
        while not first.done():
            alone = len(self._replicas.present) < 2
            left = CHECK_INTERVAL_S if alone else hedge_at - asyncio.get_running_loop().time()
            if left <= 0:
                return
            await asyncio.wait({first}, timeout=min(left, CHECK_INTERVAL_S))
            if tried and (tried[-1] not in self._replicas.present or self._replicas.has_better(call.model, tried[-1])):
                return

    async def _can_retry(self, model: str, first: asyncio.Task[Value], tried: list[Replica]) -> bool:
        """Return whether a replica can be tried next; if it is the same one, pause first."""
        if self._replicas.choose(model, tried) is not None:
            return True
        error = first.exception() if first.done() else None
        if not isinstance(error, ReplicaError) or error.retry_pause_s is None:
            return False
        await asyncio.sleep(error.retry_pause_s)
        tried.clear()
        return True

    async def _first_success(self, label: str, first: asyncio.Task[Value], second: asyncio.Task[Value]) -> Value:
        """Return the first response, or raise the error of the second attempt."""
        waiting = {task for task in (first, second) if not task.done()}
        outcome = "failed"
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not isinstance(task.exception(), ReplicaError):
                        outcome = "answered"
                        return task.result()
            return second.result()
        finally:
            self._on_retry(label, outcome)

    async def _attempt(self, call: Call[Value], tried: list[Replica]) -> Value:
        """Return the response of one replica, and add it to `tried`; replicas where nothing listens are skipped."""
        error: ReplicaError | None = None
        while (replica := self._replicas.choose(call.model, tried)) is not None:
            tried.append(replica)
            try:
                return await self._send(replica, call)
            except NotSentError as not_sent:
                error = not_sent
        raise error or ReplicaError(BackendUnavailable(f"The model server {self._why_none(call)}."))

    def _why_none(self, call: Call[Value]) -> str:
        """Return why no replica can be chosen."""
        if self._replicas.mismatched(call.model):
            return f"has other files of {call.label or call.model} than this gateway"
        return "is not reachable"

    async def _send(self, replica: Replica, call: Call[Value]) -> Value:
        loop = asyncio.get_running_loop()
        started = loop.time()
        circuit = replica.circuit(call.model)
        circuit.in_flight += 1
        try:
            value = await call.send(replica)
        except ReplicaError as failed:
            if failed.counts_as_failure:
                circuit.failed(immediately=isinstance(failed, NotSentError))
            raise
        except ServiceError:
            circuit.succeeded()
            raise
        except asyncio.CancelledError:
            # Not after a shorter deadline that a caller chose: such callers would open the circuit of every replica.
            if loop.time() - started >= call.hedge_after_s:
                circuit.failed()
            raise
        finally:
            circuit.in_flight -= 1
        circuit.succeeded()
        return value
