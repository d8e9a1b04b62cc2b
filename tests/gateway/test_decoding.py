"""Decoding in bounded threads."""

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from service import images, preprocess
from service.cards import ModelCard
from service.errors import ImageCorrupt
from service.gateway.decoding import Pool, prepare
from service.inputs import Input
from tests.gateway.conftest import until
from tests.gateway.pictures import CORRUPT, picture

pytestmark = pytest.mark.anyio


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(2, "test")
    yield made
    made.close()


class Counting:
    """A job that says how many of it ran at one time, and waits to be let go."""

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


async def test_no_more_jobs_run_at_one_time_than_the_pool_has_threads(pool: Pool) -> None:
    job = Counting()
    tasks = [asyncio.create_task(pool.run(job)) for _ in range(8)]
    await until(lambda: job.started == 2)
    job.go.set()
    await asyncio.gather(*tasks)

    assert (job.most, job.started) == (2, 8)


async def test_a_job_that_is_cancelled_while_it_waits_is_never_begun(pool: Pool) -> None:
    job = Counting()
    tasks = [asyncio.create_task(pool.run(job)) for _ in range(5)]
    await until(lambda: job.started == 2)
    for task in tasks[2:]:
        task.cancel()
    await asyncio.gather(*tasks[2:], return_exceptions=True)
    job.go.set()
    await asyncio.gather(*tasks[:2])
    await pool.run(int)

    assert job.started == 2


async def test_a_jobs_error_is_raised(pool: Pool) -> None:
    with pytest.raises(ImageCorrupt):
        await pool.run(images.decode, CORRUPT, images.Limits())


def test_a_picture_gives_each_model_the_pixels_it_gets_when_asked_alone(served: dict[str, ModelCard]) -> None:
    specs = [card.input for card in served.values()]
    specs.append(Input(profile="official", size=224))
    content = picture(size=(1600, 1200), kind="JPEG")

    facts, inputs = prepare(content, images.Limits(), specs)

    assert (facts.width, facts.height, facts.format) == (1600, 1200, "JPEG")
    for spec, pixels in zip(specs, inputs, strict=True):
        alone = images.decode(content, images.Limits(), needed=preprocess.needed_side(spec))
        assert np.array_equal(pixels, preprocess.prepare(spec, alone.image))
