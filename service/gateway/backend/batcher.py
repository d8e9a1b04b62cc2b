"""What waits for a model, gathered into batches, so that nothing waits for company that does not come.

A batch leaves as soon as a worker has nothing to do, with whatever is there; while the workers compute, it gathers. A
full one leaves at once, so that a busy worker finds its next before it asks. None overtakes what is older: where much
of one kind comes, the little of another would wait for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from service.errors import ServiceError

Item = TypeVar("Item")
Value = TypeVar("Value")

Send = Callable[[Sequence[Item]], Awaitable[Sequence[Value | ServiceError]]]


@dataclass(eq=False)
class _Waiter(Generic[Item, Value]):
    item: Item
    kind: Hashable
    answered: asyncio.Future[Value]


class Batcher(Generic[Item, Value]):
    """Batcher of at most `most` items of one kind, in the order in which they came."""

    def __init__(self, send: Send[Item, Value], most: int, workers: Callable[[], int]) -> None:
        """`send` gives an outcome for each item, or raises one for all; `workers` is asked how many there are now."""
        self._send = send
        self._most = most
        self._workers = workers
        self._waiting: list[_Waiter[Item, Value]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._due = False
        self._closed = False

    async def ask(self, item: Item, kind: Hashable = None) -> Value:
        """The outcome of one item, which is never sent if nobody waits for it any more by then."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter[Item, Value](item, kind, loop.create_future())
        self._waiting.append(waiter)
        if not self._due:  # what comes in the same turn of the loop leaves together
            self._due = True
            loop.call_soon(self._leave)
        return await waiter.answered

    async def close(self) -> None:
        """Cancel what is sent and what waits; whoever asks from now on is cancelled too."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._leave()

    def _leave(self) -> None:
        self._due = False
        if self._closed:
            for waiter in self._waiting:
                waiter.answered.cancel()
        self._waiting = [waiter for waiter in self._waiting if not waiter.answered.done()]
        while batch := self._next():
            self._waiting = [waiter for waiter in self._waiting if waiter not in batch]
            task = asyncio.create_task(self._answer(batch))
            self._running.add(task)
            task.add_done_callback(partial(self._ended, batch))

    def _next(self) -> "list[_Waiter[Item, Value]]":
        """The oldest and what is like it, where a worker is free or they are a full batch."""
        alike = [waiter for waiter in self._waiting if waiter.kind == self._waiting[0].kind][: self._most]
        return alike if len(alike) == self._most or len(self._running) < self._workers() else []

    async def _answer(self, batch: "list[_Waiter[Item, Value]]") -> None:
        try:
            outcomes = await self._send([waiter.item for waiter in batch])
            answers = list(zip(batch, outcomes, strict=True))
        except Exception as error:
            for waiter in batch:
                _fail(waiter.answered, error)
            raise
        for waiter, outcome in answers:
            if isinstance(outcome, ServiceError):
                _fail(waiter.answered, outcome)
            elif not waiter.answered.done():
                waiter.answered.set_result(outcome)

    def _ended(self, batch: "list[_Waiter[Item, Value]]", task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        for waiter in batch:
            waiter.answered.cancel()  # those that have an outcome keep it
        if not task.cancelled():
            task.exception()  # those who waited have it
        self._leave()


def _fail(answered: asyncio.Future[Value], error: Exception) -> None:
    if not answered.done():
        answered.set_exception(error)
