"""Gather the items that wait for a model into batches (adaptive or dynamic batching), without a batching delay.

A batch is sent as soon as a worker is idle, with the items that wait then. While the workers compute, items gather. A
full batch is sent at once, so that a busy worker has its next batch before it asks. Batches are sent in the order of
their oldest item: otherwise many items of one kind could delay a few of another forever.
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
    future: asyncio.Future[Value]


class Batcher(Generic[Item, Value]):
    """A queue that sends items in batches of one kind, in the order of arrival."""

    def __init__(self, send: Send[Item, Value], max_size: int, workers: Callable[[], int]) -> None:
        """Make batches of at most `max_size` items.

        `send` returns an outcome for each item, or raises an error for all. `workers` returns the current number of
        workers.
        """
        self._send = send
        self._max_size = max_size
        self._workers = workers
        self._waiting: list[_Waiter[Item, Value]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._is_scheduled = False
        self._closed = False

    async def submit(self, item: Item, kind: Hashable = None) -> Value:
        """Return the outcome of one item. An item that is cancelled while it waits is never sent."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter[Item, Value](item, kind, loop.create_future())
        self._waiting.append(waiter)
        if not self._is_scheduled:  # items of the same event loop iteration are sent together
            self._is_scheduled = True
            loop.call_soon(self._dispatch)
        return await waiter.future

    async def close(self) -> None:
        """Cancel the items that were sent, that wait, and that are submitted from now on."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._dispatch()

    def _dispatch(self) -> None:
        self._is_scheduled = False
        if self._closed:
            for waiter in self._waiting:
                waiter.future.cancel()
        self._waiting = [waiter for waiter in self._waiting if not waiter.future.done()]
        while batch := self._next():
            self._waiting = [waiter for waiter in self._waiting if waiter not in batch]
            task = asyncio.create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(partial(self._ended, batch))

    def _next(self) -> "list[_Waiter[Item, Value]]":
        """Return the oldest item and others of its kind, if a worker is idle or they are a full batch."""
        batch = [waiter for waiter in self._waiting if waiter.kind == self._waiting[0].kind][: self._max_size]
        return batch if len(batch) == self._max_size or len(self._running) < self._workers() else []

    async def _run(self, batch: "list[_Waiter[Item, Value]]") -> None:
        try:
            outcomes = await self._send([waiter.item for waiter in batch])
            results = list(zip(batch, outcomes, strict=True))
        except Exception as error:
            for waiter in batch:
                _fail(waiter.future, error)
            raise
        for waiter, outcome in results:
            if isinstance(outcome, ServiceError):
                _fail(waiter.future, outcome)
            elif not waiter.future.done():
                waiter.future.set_result(outcome)

    def _ended(self, batch: "list[_Waiter[Item, Value]]", task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        for waiter in batch:
            waiter.future.cancel()  # no effect on those that have an outcome
        if not task.cancelled():
            task.exception()  # retrieved; the waiters have it already
        self._dispatch()


def _fail(future: asyncio.Future[Value], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
