"""Work in a bounded pool of threads."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from service.errors import ImageCorrupt
from service.gateway.uploads.threads import ThreadPool
from service.imaging import decoder
from tests.gateway.conftest import until
from tests.gateway.fixtures.images import CORRUPT

pytestmark = pytest.mark.anyio


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    made = ThreadPool(2, "test")
    yield made
    made.close()


class Counting:
    """A job that counts how many of it run at the same time, and waits for `go`."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.started = 0
        self.go = threading.Event()
        self.lock = threading.Lock()

    def __call__(self) -> None:
        with self.lock:
            self.running += 1
            self.started += 1
            self.most = max(self.most, self.running)
        self.go.wait(10)
        with self.lock:
            self.running -= 1


async def test_no_more_jobs_run_at_one_time_than_there_are_threads(threads: ThreadPool) -> None:
    job = Counting()
    tasks = [asyncio.create_task(threads.run(job)) for _ in range(8)]
    await until(lambda: job.started == 2)
    job.go.set()
    await asyncio.gather(*tasks)

    assert (job.most, job.started) == (2, 8)


async def test_a_job_that_is_cancelled_while_it_waits_is_never_begun(threads: ThreadPool) -> None:
    job = Counting()
    tasks = [asyncio.create_task(threads.run(job)) for _ in range(5)]
    await until(lambda: job.started == 2)
    for task in tasks[2:]:
        task.cancel()
    await asyncio.gather(*tasks[2:], return_exceptions=True)
    job.go.set()
    await asyncio.gather(*tasks[:2])
    await threads.run(int)

    assert job.started == 2


async def test_a_jobs_error_is_raised(threads: ThreadPool) -> None:
    with pytest.raises(ImageCorrupt):
        await threads.run(decoder.decode, CORRUPT, decoder.ImageLimits())
