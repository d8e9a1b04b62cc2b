"""Decoded images in shared memory: every block comes back, whatever becomes of the image or of its processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from service.errors import Overloaded
from service.gateway.components import Components
from service.gateway.uploads.arena import PAGE, Arena
from service.gateway.uploads.lease import Lease
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from service.tasks.shared_image import SharedImage
from tests.gateway.conftest import Running, app_of, components_of, settled, until
from tests.gateway.fixtures import hostile_work
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes

pytestmark = pytest.mark.anyio

MODEL = "tiny-classifier"
IMAGE = "/v1/classify"


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    made = Arena(tmp_path, 8 * PAGE)
    made.open()
    yield made
    made.close()


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    made = ProcessPool(1, ProcessLimits(memory=1 << 28, cpu_s=5))
    yield made
    await made.close()


def gateway_of(client: httpx.AsyncClient) -> Components:
    return components_of(app_of(client))


def used(client: httpx.AsyncClient) -> int:
    return gateway_of(client).arena.used_bytes


async def transport(client: httpx.AsyncClient) -> str:
    return str((await client.get(f"/v1/models/{MODEL}")).json()["transport"])


async def post(client: httpx.AsyncClient, content: bytes, **headers: str) -> httpx.Response:
    return await client.post(IMAGE, content=content, headers=headers)


async def test_images_reach_the_model_in_shared_memory_and_their_blocks_come_back(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    responses = await asyncio.gather(*(post(client, image_bytes(seed)) for seed in range(8)))

    assert {response.status_code for response in responses} == {200}
    assert (fake.references, used(client), await transport(client)) == (8, 0, "shared_memory")
    text = (await client.get("/metrics")).text
    assert f'resnest_images_sent_total{{model="{MODEL}",transport="shared_memory"}} 8.0' in text
    assert "resnest_shared_memory_bytes 0.0" in text


async def test_the_answers_are_the_same_without_shared_memory(
    client: httpx.AsyncClient, running: Running, fake: FakeTorchServe
) -> None:
    shared = [(await post(client, image_bytes(seed))).json()["results"] for seed in range(4)]
    async with running(shared_memory_bytes=0) as other:
        sent = [(await post(other, image_bytes(seed))).json()["results"] for seed in range(4)]
        assert await transport(other) == "bytes"

    assert shared == sent
    assert fake.references == 4


async def test_without_room_for_another_image_it_is_sent_as_bytes(running: Running, fake: FakeTorchServe) -> None:
    async with running(shared_memory_bytes=2 * 4 * PAGE) as client:
        fake.behaviour = "slow"  # not before: the probes at the start would wait for their deadlines
        calls = [asyncio.create_task(post(client, image_bytes(seed))) for seed in range(5)]
        await until(lambda: gateway_of(client).admission.released == 0 and used(client) == 8 * PAGE, 30)
        fake.release.set()
        responses = await asyncio.gather(*calls)
        assert used(client) == 0

    assert {response.status_code for response in responses} == {200}
    assert 2 <= fake.references < 5


@pytest.mark.parametrize("behaviour", ["worker_died", "queue_full", "nonsense", "reset", "says_internal"])
async def test_the_block_of_an_image_that_fails_at_the_model_comes_back(
    behaviour: str, client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.behaviour = behaviour
    response = await post(client, image_bytes())

    assert response.status_code >= 500
    assert (used(client), fake.references >= 1) == (0, True)


async def test_the_block_of_an_image_that_is_late_or_whose_caller_has_gone_comes_back(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    late = asyncio.create_task(post(client, image_bytes(1), **{"Request-Timeout": "0.5"}))
    gone = asyncio.create_task(post(client, image_bytes(2)))
    await until(lambda: fake.waiting, 30)
    gone.cancel()

    assert (await late).status_code == 504
    await until(lambda: used(client) == 0, 30)
    fake.release.set()
    fake.behaviour = "answer"
    assert (await post(client, image_bytes(3))).status_code == 200


async def test_an_image_that_cannot_be_decoded_leaves_no_block(client: httpx.AsyncClient) -> None:
    responses = await asyncio.gather(*(post(client, content) for content in (CORRUPT, b"", b"GIF89a")))

    assert {response.status_code // 100 for response in responses} == {4}
    assert used(client) == 0


async def test_a_decoder_that_is_killed_leaves_no_block_and_its_image_is_answered(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    calls = [asyncio.create_task(post(client, image_bytes(seed, size=(1200, 1600)))) for seed in range(20)]
    await until(lambda: used(client) > 0, 30)
    for process in psutil.Process().children(recursive=True):
        if "forkserver" in " ".join(process.cmdline()) and process.ppid() != os.getpid():
            process.send_signal(signal.SIGKILL)
    responses = await asyncio.gather(*calls)

    assert {response.status_code for response in responses} == {200}
    assert (used(client), fake.references >= 20) == (0, True)


async def test_workers_on_another_host_get_bytes_and_decoders_do_not_write_for_them(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.shares_memory = False
    responses = [await post(client, image_bytes(seed)) for seed in range(3)]

    assert {response.status_code for response in responses} == {200}
    assert (fake.references, await transport(client)) == (1, "bytes")

    fake.shares_memory = True
    fake.workers[MODEL] = [{"pid": 200, "status": "READY"}]
    await settled(app_of(client))
    assert (await post(client, image_bytes())).status_code == 200
    assert (fake.references, await transport(client)) == (2, "shared_memory")


async def test_a_job_writes_into_the_blocks_of_its_lease(arena: Arena, pool: ProcessPool) -> None:
    with Lease(arena, [300, 0, 300]) as lease:
        generations = await pool.run(hostile_work.fill, 7, lease=lease)
        first, _, third = lease.claim([(100, 1, 3), np.zeros((1, 1, 3), np.uint8), (100, 1, 3)])

    assert len(set(generations)) == 2
    assert isinstance(first, SharedImage)
    assert isinstance(third, SharedImage)
    assert (first.pixels() == 7).all()
    assert (third.pixels() == 7).all()


async def test_the_block_of_a_job_that_was_given_up_is_not_used_before_its_process_has_ended(
    arena: Arena, pool: ProcessPool
) -> None:
    """The process writes 0.2 s after the job was given up, and is killed 0.25 s after it."""
    await pool.run(hostile_work.add, 1, 1)

    async def leased() -> None:
        with Lease(arena, [8 * PAGE - 8]) as lease:
            await pool.run(hostile_work.fill_late, 9, 0.3, lease=lease)

    job = asyncio.create_task(leased())
    await until(lambda: arena.used_bytes, 30)
    (process,) = pool._all
    await asyncio.sleep(0.1)
    job.cancel()
    await asyncio.sleep(0)

    assert arena.allocate(1) is None
    await until(lambda: arena.used_bytes == 0, 30)
    assert process.has_ended


async def test_a_job_whose_process_is_killed_again_and_again_leaves_no_block(arena: Arena, pool: ProcessPool) -> None:
    for _ in range(3):
        with pytest.raises(Overloaded), Lease(arena, [300, 300]) as lease:
            await pool.run(hostile_work.be_killed_while_filling, 5, lease=lease)

        assert arena.used_bytes == 0
