"""Many images: in order, a bounded number at a time, each with its own error."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from resnest_client.batches import Outcome, map_tasks, map_threads
from resnest_client.problems import NoAnswerError


class Counted:
    """Counts the calls that run, and the images that were taken."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.taken = 0
        self._lock = threading.Lock()

    def images(self, count: int) -> Iterator[int]:
        for image in range(count):
            self.taken += 1
            yield image

    def enter(self) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)

    def ask(self, image: int) -> int:
        self.enter()
        time.sleep(0.002 * (image % 3))
        with self._lock:
            self.running -= 1
        if image == 4:
            raise NoAnswerError("refused")
        return image * 10

    async def ask_later(self, image: int) -> int:
        self.enter()
        try:
            await asyncio.sleep(0.002 * (image % 3))
        finally:
            self.running -= 1
        if image == 4:
            raise NoAnswerError("refused")
        return image * 10


def checked(outcomes: list[Outcome[int, int]], counted: Counted) -> None:
    """Assert that nine images have their outcomes in order, and that three were asked for at a time."""
    assert [each.image for each in outcomes] == list(range(9))
    assert [each.answer for each in outcomes] == [0, 10, 20, 30, None, 50, 60, 70, 80]
    assert [each.image for each in outcomes if each.error] == [4]
    assert counted.most == 3


def test_threads_answer_in_order_and_an_error_stays_with_its_image() -> None:
    counted = Counted()

    checked(list(map_threads(counted.ask, counted.images(9), 3)), counted)


@pytest.mark.anyio
async def test_tasks_answer_in_order_and_an_error_stays_with_its_image() -> None:
    counted = Counted()

    checked([each async for each in map_tasks(counted.ask_later, counted.images(9), 3)], counted)


def test_images_are_taken_only_when_they_are_wanted() -> None:
    counted = Counted()
    outcomes = map_threads(counted.ask, counted.images(1000), 3)

    next(outcomes)

    assert counted.taken <= 4
    outcomes.close()  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_requests_that_are_no_longer_wanted_are_cancelled() -> None:
    counted = Counted()
    outcomes = map_tasks(counted.ask_later, counted.images(1000), 3)

    await anext(outcomes)
    await outcomes.aclose()  # type: ignore[attr-defined]

    assert counted.running == 0
    assert counted.taken <= 4


def test_an_outcome_gives_its_answer_or_raises_its_error() -> None:
    assert Outcome("a", answer=1).result() == 1
    with pytest.raises(NoAnswerError):
        Outcome[str, int]("a", error=NoAnswerError("refused")).result()


def test_a_mistake_in_the_program_is_not_an_outcome() -> None:
    def ask(image: int) -> int:
        raise KeyError(image)

    with pytest.raises(KeyError):
        list(map_threads(ask, [1]))


def test_at_least_one_request_is_sent_at_a_time() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(map_threads(Counted().ask, [1], 0))
