"""One decode process: how it starts, runs a job, and ends."""

import signal
from collections.abc import Iterator

import pytest

from service.gateway.uploads import pickle_frames
from service.gateway.uploads.pool_process import PoolProcess
from service.gateway.uploads.pool_worker import ProcessLimits
from tests.gateway.conftest import until
from tests.gateway.fixtures import hostile_work

pytestmark = pytest.mark.anyio


@pytest.fixture
def process() -> Iterator[PoolProcess]:
    made = PoolProcess.start(ProcessLimits(memory=1 << 28, cpu_s=5), nice=0)
    yield made
    made.kill()
    made.join()


async def test_a_process_runs_one_job_after_another_and_is_idle_between_them(process: PoolProcess) -> None:
    for number in range(3):
        assert await process.run(pickle_frames.pack((hostile_work.add, (number, 1)))) == (True, number + 1)
        assert process.is_idle
    assert not process.has_ended


async def test_a_process_that_is_killed_has_ended_once_it_is_joined(process: PoolProcess) -> None:
    process.kill()

    assert process.join() == -signal.SIGKILL
    assert process.has_ended


async def test_a_process_that_ended_while_idle_is_not_idle_and_its_job_an_error(process: PoolProcess) -> None:
    process.kill()
    await until(lambda: not process.is_idle, 30)

    with pytest.raises(OSError, match=r".*"):
        await process.run(pickle_frames.pack((hostile_work.add, (1, 1))))
