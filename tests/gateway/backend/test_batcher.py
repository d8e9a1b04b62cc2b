"""Batches are sent when a worker is idle or they are full, and each outcome reaches its own item."""

import asyncio
from collections.abc import Sequence

import pytest

from service.errors import BackendBadResponse, BackendUnavailable, ServiceError
from service.gateway.backend.batcher import Batcher
from tests.gateway.conftest import until

pytestmark = pytest.mark.anyio

MAX_SIZE = 4


class Model:
    """Returns each item as its outcome when `may_answer` is released, and records the batches."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.may_answer = asyncio.Semaphore(0)
        self.workers = 1
        self.outcomes: dict[int, ServiceError] = {}
        self.batcher = Batcher(self.send, MAX_SIZE, lambda: self.workers)

    async def send(self, items: Sequence[int]) -> list[int | ServiceError]:
        self.sent.append(list(items))
        await self.may_answer.acquire()
        return [self.outcomes.get(item, item) for item in items]

    def submit(self, *items: int, kind: str = "") -> "list[asyncio.Task[int]]":
        return [asyncio.create_task(self.batcher.submit(item, kind)) for item in items]

    async def sent_are(self, *batches: list[int]) -> None:
        """Wait until these batches were sent, and a little longer for any that should not be."""
        await until(lambda: len(self.sent) >= len(batches), 30)
        for _ in range(10):
            await asyncio.sleep(0)
        assert self.sent == list(batches)


async def test_a_lone_item_leaves_at_once() -> None:
    model = Model()
    (task,) = model.submit(1)
    await model.sent_are([1])
    model.may_answer.release()

    assert await task == 1


async def test_what_comes_together_leaves_together() -> None:
    model = Model()
    model.may_answer.release()

    assert await asyncio.gather(*model.submit(1, 2, 3)) == [1, 2, 3]
    assert model.sent == [[1, 2, 3]]


async def test_what_comes_while_the_worker_is_busy_gathers_and_leaves_when_it_is_free() -> None:
    model = Model()
    tasks = model.submit(1)
    await model.sent_are([1])
    tasks += model.submit(2)
    await model.sent_are([1])
    tasks += model.submit(3)
    await model.sent_are([1])

    model.may_answer.release()
    await model.sent_are([1], [2, 3])
    model.may_answer.release()
    assert await asyncio.gather(*tasks) == [1, 2, 3]


async def test_a_full_batch_does_not_wait_for_the_worker() -> None:
    model = Model()
    tasks = model.submit(1)
    await model.sent_are([1])
    tasks += model.submit(2, 3, 4, 5, 6)

    await model.sent_are([1], [2, 3, 4, 5])
    for _ in range(3):
        model.may_answer.release()
    assert await asyncio.gather(*tasks) == [1, 2, 3, 4, 5, 6]
    assert model.sent[-1] == [6]


async def test_each_worker_that_is_free_gets_a_batch() -> None:
    model = Model()
    model.workers = 2
    tasks = model.submit(1)
    await model.sent_are([1])
    tasks += model.submit(2)

    await model.sent_are([1], [2])
    model.may_answer.release()
    model.may_answer.release()
    assert await asyncio.gather(*tasks) == [1, 2]


async def test_a_batch_is_of_one_kind_and_the_oldest_kind_is_first() -> None:
    model = Model()
    tasks = model.submit(1)
    await model.sent_are([1])
    tasks += [*model.submit(2, kind="a"), *model.submit(3, kind="b"), *model.submit(4, kind="a")]

    for _ in range(3):
        model.may_answer.release()
    assert await asyncio.gather(*tasks) == [1, 2, 3, 4]
    assert model.sent == [[1], [2, 4], [3]]


async def test_what_is_alone_of_its_kind_is_not_overtaken_for_ever_by_full_batches() -> None:
    model = Model()
    model.workers = 2
    tasks = [*model.submit(*range(MAX_SIZE)), *model.submit(*range(10, 10 + MAX_SIZE))]
    await model.sent_are([0, 1, 2, 3], [10, 11, 12, 13])
    (rare,) = model.submit(99, kind="rare")
    tasks += model.submit(*range(20, 20 + 3 * MAX_SIZE))
    await model.sent_are([0, 1, 2, 3], [10, 11, 12, 13])

    model.may_answer.release()
    await until(lambda: [99] in model.sent, 30)

    assert model.sent.index([99]) == 2
    for _ in range(10):
        model.may_answer.release()
    assert await rare == 99
    await asyncio.gather(*tasks)


async def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    model = Model()
    first, left, last = (model.submit(item)[0] for item in (1, 2, 3))
    model.workers = 0
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    model.workers = 1
    (again,) = model.submit(4)

    model.may_answer.release()
    assert [await task for task in (first, last, again)] == [1, 3, 4]
    assert model.sent == [[1, 3, 4]]


async def test_the_failure_of_one_is_not_its_neighbours() -> None:
    model = Model()
    model.outcomes[2] = BackendBadResponse("nonsense")
    model.may_answer.release()

    outcomes = await asyncio.gather(*model.submit(1, 2, 3), return_exceptions=True)

    assert [outcomes[0], outcomes[2]] == [1, 3]
    assert isinstance(outcomes[1], BackendBadResponse)


@pytest.mark.parametrize("error", [BackendUnavailable("gone"), TimeoutError(), RuntimeError("a mistake of ours")])
async def test_a_failure_of_all_is_told_to_each_and_the_next_batch_leaves(error: Exception) -> None:
    async def fail(items: Sequence[int]) -> list[int | ServiceError]:
        if 1 in items:
            raise error
        return list(items)

    batcher = Batcher(fail, MAX_SIZE, lambda: 1)
    outcomes = await asyncio.gather(*(batcher.submit(item) for item in (1, 2)), return_exceptions=True)

    assert [type(each) for each in outcomes] == [type(error)] * 2
    assert await batcher.submit(3) == 3


async def test_fewer_outcomes_than_items_are_a_failure_of_all() -> None:
    async def forget(items: Sequence[int]) -> list[int | ServiceError]:
        return list(items[1:])

    batcher = Batcher(forget, MAX_SIZE, lambda: 1)

    with pytest.raises(ValueError, match="zip"):
        await batcher.submit(1)


async def test_closing_cancels_what_is_sent_and_what_waits_and_whoever_asks_later() -> None:
    model = Model()
    (computing,) = model.submit(1)
    await model.sent_are([1])
    (waiting,) = model.submit(2)
    await model.sent_are([1])

    await model.batcher.close()

    for task in (computing, waiting, *model.submit(3)):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert model.sent == [[1]]
