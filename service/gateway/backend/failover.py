"""One answer from replicas of which any may fail: asked of one, and within the same deadline once more of another.

A request changes nothing at a model server, so that it can be sent twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import BackendUnavailable, ServiceError
from service.gateway.backend.replicas import Replica, Replicas

Value = TypeVar("Value")

GLANCE_S = 0.25  # between two glances at whether who was asked still has a worker


class FailedError(Exception):
    """One replica failed, and another may do better; `told` is what the caller hears if none does."""

    def __init__(self, told: ServiceError, *, again_s: float | None = None, guilty: bool = True) -> None:
        """`again_s` is the pause before the same one may be asked again, if ever; `guilty` opens circuits."""
        super().__init__(str(told))
        self.told = told
        self.again_s = again_s
        self.guilty = guilty


class NobodyThereError(FailedError):
    """Nothing was sent, so that trying the next one is no second try."""


@dataclass(frozen=True)
class Call(Generic[Value]):
    """A request for a model: what asks a replica, and the seconds after which a silent one is held for hung.

    A failure of `several` things together is told at once, since each may do better by itself.
    `ask` raises `FailedError`, or a `ServiceError` that is the model's own word about what was sent.
    """

    model: str
    ask: Callable[[Replica], Awaitable[Value]]
    patience_s: float
    several: bool = False


class Failover:
    """Asks replicas, and lets their circuits know how it went."""

    def __init__(self, replicas: Replicas, retried: Callable[[str, str], None]) -> None:
        """`retried` is told of every second try: the model, and `answered` or `failed`."""
        self._replicas = replicas
        self._retried = retried

    async def answer(self, call: Call[Value]) -> Value:
        """The answer of one replica, or of a second one where the first fails or is silent too long.

        Raises the `ServiceError` of the model, or of the replica that failed last.
        """
        tried: list[Replica] = []
        first = asyncio.create_task(self._attempt(call, tried))
        running = {first}
        try:
            await self._while_hopeful(call, first, tried)
            if first.done() and (not isinstance(first.exception(), FailedError) or call.several):
                return first.result()
            if not await self._may_go_on(call.model, first, tried):
                return await first
            second = asyncio.create_task(self._attempt(call, tried))
            running.add(second)
            return await self._sooner(call.model, first, second)
        except FailedError as failed:
            raise failed.told from failed
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _while_hopeful(self, call: Call[Value], first: asyncio.Task[Value], tried: list[Replica]) -> None:
        """Wait for the first one: for ever where there is no other, not when it or its last worker was seen to be gone.

        What a dead worker was computing fails at once; what TorchServe had queued for it waits for the next worker.
        """
        impatient = asyncio.get_running_loop().time() + call.patience_s
        while not first.done():
            alone = len(self._replicas.present) < 2
            left = GLANCE_S if alone else impatient - asyncio.get_running_loop().time()
            if left <= 0:
                return
            await asyncio.wait({first}, timeout=min(left, GLANCE_S))
            if tried and (tried[-1] not in self._replicas.present or self._replicas.has_better(call.model, tried[-1])):
                return

    async def _may_go_on(self, model: str, first: asyncio.Task[Value], tried: list[Replica]) -> bool:
        """Whether there is one to try next, after the pause that the same one needs if it is the only one."""
        if self._replicas.choose(model, tried) is not None:
            return True
        error = first.exception() if first.done() else None
        if not isinstance(error, FailedError) or error.again_s is None:
            return False
        await asyncio.sleep(error.again_s)
        tried.clear()
        return True

    async def _sooner(self, model: str, first: asyncio.Task[Value], second: asyncio.Task[Value]) -> Value:
        """The answer that comes first, or else the failure of the second."""
        waiting = {task for task in (first, second) if not task.done()}
        outcome = "failed"
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not isinstance(task.exception(), FailedError):
                        outcome = "answered"
                        return task.result()
            return second.result()
        finally:
            self._retried(model, outcome)

    async def _attempt(self, call: Call[Value], tried: list[Replica]) -> Value:
        """The answer of one replica, which is added to `tried`; those where nothing listens are passed by."""
        error = FailedError(BackendUnavailable("the model server is not there"))
        while (replica := self._replicas.choose(call.model, tried)) is not None:
            tried.append(replica)
            try:
                return await self._asked(replica, call)
            except NobodyThereError as nobody:
                error = nobody
        raise error

    async def _asked(self, replica: Replica, call: Call[Value]) -> Value:
        loop = asyncio.get_running_loop()
        started = loop.time()
        circuit = replica.circuit(call.model)
        circuit.in_flight += 1
        try:
            answer = await call.ask(replica)
        except FailedError as failed:
            if failed.guilty:
                circuit.failed(at_once=isinstance(failed, NobodyThereError))
            raise
        except ServiceError:
            circuit.succeeded()
            raise
        except asyncio.CancelledError:
            # Never after a time that the caller chose: short ones would shut out every replica.
            if loop.time() - started >= call.patience_s:
                circuit.failed()
            raise
        finally:
            circuit.in_flight -= 1
        circuit.succeeded()
        return answer
