"""Many images, a bounded number of them at a time. The outcomes come in the order of the images."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from resnest_client.problems import ClientError

Item = TypeVar("Item")
Result = TypeVar("Result")

CONCURRENCY: Final = 8  # a gateway on two cores admits 64 images at a time, of all callers together
FAILURES: Final = (ClientError, OSError)


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """The answer about one image, or the error that it failed with: a problem, no answer, or an unreadable file."""

    image: Item
    answer: Result | None = None
    error: ClientError | OSError | None = None

    def result(self) -> Result:
        """Return the answer. Raise the error if there is one."""
        if self.error is not None:
            raise self.error
        assert self.answer is not None  # noqa: S101 - an outcome has one of both
        return self.answer


def map_threads(
    ask: Callable[[Item], Result], images: Iterable[Item], concurrency: int = CONCURRENCY
) -> Iterator[Outcome[Item, Result]]:
    """Yield the outcome of `ask` for each image, with at most `concurrency` requests at a time.

    An image is taken from `images` only when a request may begin, so that a long iterable is not held in memory. If
    you stop early, requests that have not begun are cancelled.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(_checked(concurrency), "resnest-client") as threads:
        try:
            for image in images:
                if len(waiting) == concurrency:
                    yield _outcome(*waiting.popleft())
                waiting.append((image, threads.submit(ask, image)))
            while waiting:
                yield _outcome(*waiting.popleft())
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


async def map_tasks(
    ask: Callable[[Item], Awaitable[Result]],
    images: Iterable[Item] | AsyncIterable[Item],
    concurrency: int = CONCURRENCY,
) -> AsyncIterator[Outcome[Item, Result]]:
    """Yield the outcome of `ask` for each image, as `map_threads` does, with tasks in place of threads."""
    waiting: deque[asyncio.Task[Outcome[Item, Result]]] = deque()
    _checked(concurrency)

    async def one(image: Item) -> Outcome[Item, Result]:
        try:
            return Outcome(image, await ask(image))
        except FAILURES as error:
            return Outcome(image, error=error)

    try:
        async for image in _each(images):
            if len(waiting) == concurrency:
                yield await waiting.popleft()
            waiting.append(asyncio.create_task(one(image)))
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _each(images: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    else:
        for image in images:
            yield image


def _outcome(image: Item, future: Future[Result]) -> Outcome[Item, Result]:
    try:
        return Outcome(image, future.result())
    except FAILURES as error:
        return Outcome(image, error=error)


def _checked(concurrency: int) -> int:
    if concurrency < 1:
        raise ValueError("concurrency is at least 1")
    return concurrency
