"""A job can harm only its own process."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.errors import ImageCorrupt, ImageTooCostly, ImageTooLarge, Overloaded
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from tests.gateway.conftest import until
from tests.gateway.fixtures import hostile_work
from tests.laws.sources import ROOT

pytestmark = pytest.mark.anyio

MEMORY = 256 << 20


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    made = ProcessPool(2, ProcessLimits(memory=MEMORY, cpu_s=1))
    yield made
    await made.close()


@pytest.fixture
async def lone() -> AsyncIterator[ProcessPool]:
    made = ProcessPool(1, ProcessLimits(memory=MEMORY, cpu_s=1))
    yield made
    await made.close()


async def test_a_jobs_value_comes_back(pool: ProcessPool) -> None:
    assert await pool.run(hostile_work.add, 2, 3) == 5


async def test_a_jobs_error_comes_back_whole(pool: ProcessPool) -> None:
    with pytest.raises(ImageTooLarge) as raised:
        await pool.run(hostile_work.refuse)

    assert (raised.value.detail, raised.value.limit, raised.value.actual) == ("too large", 3, 4)


@pytest.mark.parametrize("work", [hostile_work.crash, hostile_work.leave, hostile_work.babble])
async def test_a_job_that_ends_its_process_fails_alone_and_is_the_pictures_fault(
    work: Callable[[], None], pool: ProcessPool
) -> None:
    bad = asyncio.create_task(pool.run(work))
    good = [asyncio.create_task(pool.run(hostile_work.add, number, 1)) for number in range(5)]

    with pytest.raises(ImageCorrupt):
        await bad
    assert [await task for task in good] == [1, 2, 3, 4, 5]


async def test_a_job_that_spins_is_ended_by_the_kernel_and_others_go_on(pool: ProcessPool) -> None:
    spinning = asyncio.create_task(pool.run(hostile_work.spin))

    assert await pool.run(hostile_work.add, 1, 1) == 2
    with pytest.raises(ImageTooCostly, match="too long"):
        await asyncio.wait_for(spinning, 240)
    assert await asyncio.gather(*(pool.run(hostile_work.add, number, 1) for number in range(2))) == [1, 2]


async def test_a_job_that_nobody_waits_for_any_more_is_ended_and_its_place_free(lone: ProcessPool) -> None:
    hanging = asyncio.create_task(lone.run(hostile_work.hang))
    await until(lambda: len(lone._all) == 1, 30)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hanging, 0.1)

    assert await asyncio.wait_for(lone.run(hostile_work.add, 1, 1), 30) == 2


async def test_a_job_that_is_given_up_while_its_process_starts_is_never_begun(lone: ProcessPool) -> None:
    hanging = asyncio.create_task(lone.run(hostile_work.hang))
    await asyncio.sleep(0)
    hanging.cancel()
    await asyncio.wait([hanging])

    assert await asyncio.wait_for(lone.run(hostile_work.add, 1, 1), 60) == 2
    assert len(lone._all) == 1


@pytest.mark.parametrize("nice", [0, 10])
async def test_all_processes_of_a_pool_give_way_as_far_as_it_says(nice: int) -> None:
    pool = ProcessPool(2, ProcessLimits(memory=MEMORY, cpu_s=5), nice=nice)
    await pool.warm()
    pids = [worker.process.pid for worker in pool._all]

    niceness = [os.getpriority(os.PRIO_PROCESS, pid or 0) for pid in pids]
    await pool.close()

    assert niceness == [min(os.getpriority(os.PRIO_PROCESS, 0) + nice, 19)] * 2


async def test_a_pool_is_quiet_while_a_job_more_would_leave_a_place_or_a_lone_process_has_none(
    pool: ProcessPool, lone: ProcessPool
) -> None:
    assert [each.has_room for each in (pool, lone)] == [True, True]

    napping = [asyncio.create_task(each.run(hostile_work.nap, 600.0)) for each in (pool, lone)]
    await asyncio.sleep(0)
    assert [each.has_room for each in (pool, lone)] == [False, False]

    for task in napping:
        task.cancel()
    await asyncio.wait(napping)
    await until(lambda: pool.has_room and lone.has_room, 60)


async def test_two_pools_that_lose_processes_at_one_time_know_why(pool: ProcessPool, lone: ProcessPool) -> None:
    async def crashed(processes: ProcessPool) -> None:
        for _ in range(5):
            with pytest.raises(ImageCorrupt):
                await processes.run(hostile_work.crash)

    await asyncio.gather(crashed(pool), crashed(lone), crashed(pool))


async def test_a_job_that_takes_more_memory_than_its_bounds_fails_and_its_process_lives(pool: ProcessPool) -> None:
    before = await pool.run(hostile_work.own_pid)

    with pytest.raises(ImageTooCostly, match="memory"):
        await pool.run(hostile_work.swell, 2 * MEMORY)

    assert await pool.run(hostile_work.swell, MEMORY // 4) == MEMORY // 4
    assert await pool.run(hostile_work.own_pid) == before


async def test_a_job_whose_process_is_killed_from_outside_is_done_again_by_another(
    pool: ProcessPool, tmp_path: Path
) -> None:
    assert await pool.run(hostile_work.be_killed_once, str(tmp_path / "marker")) == "second"


async def test_a_job_whose_process_is_killed_again_is_not_the_pictures_fault(pool: ProcessPool) -> None:
    with pytest.raises(Overloaded):
        await pool.run(hostile_work.be_killed)


async def test_a_job_whose_process_was_lost_sight_of_is_done_again(pool: ProcessPool) -> None:
    with pytest.raises(Overloaded):
        await pool.run(hostile_work.leave, 255)


async def test_a_process_that_ended_while_idle_is_no_jobs_fault(pool: ProcessPool) -> None:
    pid = await pool.run(hostile_work.own_pid)
    os.kill(pid, signal.SIGSEGV)
    await until(lambda: not psutil.pid_exists(pid), 30)

    assert await pool.run(hostile_work.add, 1, 1) == 2


async def test_lost_processes_are_told_of_with_the_reason() -> None:
    lost: Counter[str] = Counter()
    pool = ProcessPool(1, ProcessLimits(memory=MEMORY, cpu_s=1), lambda reason: lost.update([reason]))

    for work in (hostile_work.crash, hostile_work.spin, hostile_work.be_killed):
        with pytest.raises((ImageCorrupt, ImageTooCostly, Overloaded)):
            await pool.run(work)
    await pool.run(hostile_work.own_pid)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pool.run(hostile_work.hang), 0.1)
    await until(lambda: lost["given_up"], 60)
    await pool.close()

    assert lost == {"crashed": 1, "spinning": 1, "killed": 2, "given_up": 1}


async def test_large_bytes_and_arrays_come_back_as_they_were(pool: ProcessPool) -> None:
    upload = bytes(range(256)) * 8192

    same, pixels = await pool.run(hostile_work.both, upload, np.arange(1 << 20, dtype=np.uint8))

    assert (type(same), same == upload) == (bytes, True)
    assert np.array_equal(pixels, np.arange(1 << 20, dtype=np.uint8))


async def test_warm_processes_are_all_there_before_the_first_job(pool: ProcessPool) -> None:
    await pool.warm()
    before = set(pool._all)

    await asyncio.gather(*(pool.run(hostile_work.add, number, 1) for number in range(8)))

    assert len(before) == 2
    assert set(pool._all) == before


async def test_processes_are_kept_and_none_is_left_at_the_end() -> None:
    pool = ProcessPool(2, ProcessLimits(memory=MEMORY, cpu_s=5))
    pids = {await pool.run(hostile_work.own_pid) for _ in range(4)}

    await pool.close()

    assert len(pids) == 1
    await until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30)


async def test_a_pool_that_is_closed_while_it_starts_leaves_no_process(pool: ProcessPool) -> None:
    await pool.run(hostile_work.own_pid)  # multiprocessing's own two processes live as long as this one
    before = descendants()
    closed = ProcessPool(2, ProcessLimits(memory=MEMORY, cpu_s=5))
    warming = asyncio.create_task(closed.warm())
    await asyncio.sleep(0)

    warming.cancel()
    await asyncio.wait([warming])
    await closed.close()

    await until(lambda: descendants() <= before, 30)


def descendants() -> set[psutil.Process]:
    """Return the children of this process, and theirs."""
    return set(psutil.Process().children(recursive=True))


OWNER = """
import asyncio, sys
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from tests.gateway.fixtures import hostile_work

async def main():
    pool = ProcessPool(1, ProcessLimits(memory=1 << 28, cpu_s=60))
    print(await pool.run(hostile_work.own_pid), flush=True)
    await asyncio.gather(*(pool.run(work) for work in (hostile_work.hang, hostile_work.spin)))

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_busy_processes_end_with_the_one_that_started_them(end: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(OWNER, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout is not None
        assert int(owner.stdout.readline())
        family = psutil.Process(owner.pid).children(recursive=True)
        owner.send_signal(end)
        owner.wait(30)
        _, alive = psutil.wait_procs(family, 30)

    assert len(family) >= 3
    assert not alive
