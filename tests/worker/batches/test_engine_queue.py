"""Batches that wait for the engine are merged, each keeps its own outcomes, and the oldest is never passed over."""

import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from service.engines import Images
from service.worker.batches.batch import BatchedOutput
from service.worker.batches.engine_queue import EngineQueue, Outcome
from service.worker.exchange import ExpiredImageError
from tests.e2e.running import until
from tests.worker.requests import flat

TIMEOUT_S = 30


class ManualEngine:
    """Computes a pass only after `go`. `passes` has the grey levels of each pass that has begun."""

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self._go = threading.Semaphore(0)

    def run(self, _kind: str, images: Images) -> Sequence[Outcome]:
        self.passes.append([int(image[0, 0, 0]) for image in images])
        assert self._go.acquire(timeout=TIMEOUT_S)
        if (images == 13).any():
            raise RuntimeError("a pass failed")
        return [BatchedOutput({"grey": image[0, 0, :1]}, len(images), 1.0) for image in images]

    def go(self, passes: int = 1) -> None:
        self._go.release(passes)

    def await_pass(self, number: int) -> None:
        until(lambda: len(self.passes) >= number, TIMEOUT_S, lambda: self.passes)


class Waiting:
    """An engine that is busy with one image, and batches that are added behind it one after another."""

    def __init__(self, pool: ThreadPoolExecutor, calls: int = 1) -> None:
        self.engine = ManualEngine()
        self.now = 0.0
        self.expires: dict[int, float] = {}  # by the grey level of an image
        self.queue = EngineQueue(self.engine.run, calls, lambda: self.now)
        self._pool = pool
        self.first = self.add("predict", [0])
        self.engine.await_pass(1)

    def add(self, kind: str, greys: list[int], most: int = 8) -> "Future[Sequence[Outcome]]":
        expires = [self.expires.get(grey, math.inf) for grey in greys]
        return self._pool.submit(self.queue.outcomes, kind, [flat(grey) for grey in greys], expires, most)

    def add_waiting(self, kind: str, greys: list[int]) -> "Future[Sequence[Outcome]]":
        """Add a batch, and return when it waits."""
        before = len(self.queue._waiting)
        future = self.add(kind, greys)
        until(lambda: len(self.queue._waiting) > before, TIMEOUT_S)
        return future


@pytest.fixture
def waiting() -> "Waiting":
    return Waiting(ThreadPoolExecutor(16))


def greys(future: "Future[Sequence[Outcome]]") -> list[int]:
    return [int(each.arrays["grey"][0]) for each in future.result(TIMEOUT_S) if isinstance(each, BatchedOutput)]


def test_batches_of_several_gateways_that_wait_are_one_pass_and_each_gets_its_own_outcomes(waiting: Waiting) -> None:
    futures = [waiting.add_waiting("predict", [10 * number, 10 * number + 1]) for number in (1, 2, 3)]
    waiting.engine.go(2)

    assert [greys(future) for future in futures] == [[10, 11], [20, 21], [30, 31]]
    assert waiting.engine.passes == [[0], [10, 11, 20, 21, 30, 31]]
    assert {each.batch for each in futures[0].result() if isinstance(each, BatchedOutput)} == {6}


def test_passes_are_full_while_enough_images_wait_and_a_batch_may_be_in_two_of_them(waiting: Waiting) -> None:
    futures = [waiting.add_waiting("predict", [10 * number + index for index in range(5)]) for number in (2, 3, 4)]
    waiting.engine.go(2)
    first = greys(futures[0])
    assert not futures[1].done()
    waiting.engine.go(1)

    assert [first, *map(greys, futures[1:])] == [[20, 21, 22, 23, 24], [30, 31, 32, 33, 34], [40, 41, 42, 43, 44]]
    assert waiting.engine.passes == [[0], [20, 21, 22, 23, 24, 30, 31, 32], [33, 34, 40, 41, 42, 43, 44]]


def test_a_batch_that_is_larger_than_a_pass_is_computed_in_several(waiting: Waiting) -> None:
    future = waiting.add_waiting("predict", list(range(20, 40)))
    waiting.engine.go(4)

    assert greys(future) == list(range(20, 40))
    assert [len(each) for each in waiting.engine.passes] == [1, 8, 8, 4]


def test_a_failed_pass_fails_only_its_part_of_a_batch(waiting: Waiting) -> None:
    first, second = (waiting.add_waiting("predict", each) for each in ([13, *range(20, 26)], [30, 31, 32]))
    waiting.engine.go(3)

    assert [type(each) for each in first.result(TIMEOUT_S)] == [RuntimeError] * 7
    assert [type(each) for each in second.result(TIMEOUT_S)] == [RuntimeError, BatchedOutput, BatchedOutput]
    assert greys(second) == [31, 32]


def test_while_a_pass_has_a_part_of_the_oldest_batch_another_call_takes_the_rest_of_it_and_the_next() -> None:
    waiting = Waiting(ThreadPoolExecutor(4), calls=2)
    second = waiting.add("predict", [1])
    waiting.engine.await_pass(2)
    long = waiting.add_waiting("predict", list(range(20, 30)))
    next_one = waiting.add_waiting("predict", [40])
    waiting.engine.go(2)
    waiting.engine.await_pass(4)  # although the thread of the long batch is in the third pass
    waiting.engine.go(2)

    assert waiting.engine.passes[2:] == [list(range(20, 28)), [28, 29, 40]]
    assert [greys(each) for each in (waiting.first, second, long, next_one)] == [[0], [1], list(range(20, 30)), [40]]


def test_only_images_of_one_operation_and_shape_are_merged_and_the_oldest_go_first(waiting: Waiting) -> None:
    futures = [waiting.add_waiting(kind, [grey]) for kind, grey in (("embed", 1), ("predict", 2), ("embed", 3))]
    waiting.engine.go(3)

    assert [greys(future) for future in futures] == [[1], [2], [3]]
    assert waiting.engine.passes == [[0], [1, 3], [2]]


def test_a_failed_pass_fails_the_images_in_it_and_no_others(waiting: Waiting) -> None:
    bad = waiting.add_waiting("predict", [13])
    waiting.engine.go(2)
    bad.result(TIMEOUT_S)
    later = waiting.add("predict", [5])
    waiting.engine.go()

    assert [type(each) for each in bad.result(TIMEOUT_S)] == [RuntimeError]
    assert greys(waiting.first) == [0]
    assert greys(later) == [5]


def test_an_engine_that_takes_two_calls_gets_two_passes_at_the_same_time() -> None:
    waiting = Waiting(ThreadPoolExecutor(4), calls=2)
    second = waiting.add("predict", [1])
    waiting.engine.await_pass(2)
    third = waiting.add_waiting("predict", [2])
    assert len(waiting.engine.passes) == 2
    fourth = waiting.add_waiting("predict", [3])
    waiting.engine.go()  # the pass that ends makes room for one with both that wait
    waiting.engine.await_pass(3)
    waiting.engine.go()  # the other pass ends while theirs runs
    waiting.engine.go()

    assert [greys(future) for future in (waiting.first, second, third, fourth)] == [[0], [1], [2], [3]]
    assert waiting.engine.passes == [[0], [1], [2, 3]]


def test_an_image_that_expires_while_it_waits_is_in_no_pass_and_its_neighbours_are(waiting: Waiting) -> None:
    waiting.expires = {11: 5.0, 20: 5.0, 21: 5.0}
    neighbours, late = (waiting.add_waiting("predict", each) for each in ([10, 11, 12], [20, 21]))
    waiting.now = 6.0
    waiting.engine.go(2)

    assert [type(each) for each in late.result(TIMEOUT_S)] == [ExpiredImageError] * 2
    assert [type(each) for each in neighbours.result(TIMEOUT_S)] == [BatchedOutput, ExpiredImageError, BatchedOutput]
    assert greys(neighbours) == [10, 12]
    assert waiting.engine.passes == [[0], [10, 12]]


def test_images_that_have_all_expired_begin_no_pass_and_the_next_batch_does(waiting: Waiting) -> None:
    waiting.expires = {10: 5.0}
    late = waiting.add_waiting("predict", [10])
    other = waiting.add_waiting("embed", [30])
    waiting.now = 6.0
    waiting.engine.go(2)

    assert [type(each) for each in late.result(TIMEOUT_S)] == [ExpiredImageError]
    assert greys(other) == [30]
    assert waiting.engine.passes == [[0], [30]]


def test_the_image_of_a_pass_that_has_begun_does_not_expire(waiting: Waiting) -> None:
    waiting.expires = {10: 5.0}
    begun = waiting.add_waiting("predict", [10])
    waiting.engine.go()
    waiting.engine.await_pass(2)
    waiting.now = 6.0
    waiting.add_waiting("predict", [11])
    waiting.engine.go(2)

    assert greys(begun) == [10]


def test_batches_from_many_threads_all_come_back_as_they_were_sent() -> None:
    def run(_kind: str, images: Images) -> list[Outcome]:
        return [BatchedOutput({"grey": image[0, 0, :1]}, len(images), 0.1) for image in images]

    queue = EngineQueue(run, 2)
    sent = np.random.default_rng(0).integers(0, 255, (200, 3))
    with ThreadPoolExecutor(16) as pool:
        futures = [
            pool.submit(queue.outcomes, "predict", [flat(int(grey)) for grey in row], [math.inf] * 3, 8) for row in sent
        ]

    assert [greys(future) for future in futures] == sent.tolist()
