"""What callers see when the decode process of an image crashes or never ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import httpx
import pytest

from service.gateway.uploads.process_pool import ProcessPool
from tests.gateway.conftest import Running, app_of, components_of, until
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

LONG_DEADLINE = {"Request-Timeout": "60"}


@pytest.fixture
async def client(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with running(decode_processes=2) as client:
        processes = processes_of(client)
        await until(lambda: len(processes._idle) == len(processes._all) == 2, 60)
        yield client


def processes_of(client: httpx.AsyncClient) -> ProcessPool:
    """Return the process pool for small images."""
    return components_of(app_of(client)).decode_queue._small


async def caught(client: httpx.AsyncClient, headers: dict[str, str]) -> tuple[int, asyncio.Task[httpx.Response]]:
    """Send a request and stop the decode process that has its image. Return that process's id and the request."""
    processes = processes_of(client)
    pids = {worker: worker.process.pid or 0 for worker in processes._all}
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    request = asyncio.create_task(client.post("/v1/classify", content=image_bytes(), headers=headers))
    await until(lambda: len(processes._idle) < len(pids), 30)
    (busy,) = set(pids) - set(processes._idle)
    for worker in processes._idle:
        os.kill(pids[worker], signal.SIGCONT)
    return pids[busy], request


async def lost(client: httpx.AsyncClient, reason: str) -> bool:
    text = (await client.get("/metrics")).text
    return f'resnest_decode_processes_lost_total{{reason="{reason}"}} 1.0' in text


async def test_a_picture_that_crashes_its_decoder_is_corrupt_and_others_are_answered(client: httpx.AsyncClient) -> None:
    pid, bad = await caught(client, LONG_DEADLINE)
    beside = await client.post("/v1/classify", content=image_bytes(), headers=LONG_DEADLINE)
    os.kill(pid, signal.SIGSEGV)
    os.kill(pid, signal.SIGCONT)
    refused = await bad
    after = await client.post("/v1/classify", content=image_bytes(), headers=LONG_DEADLINE)

    assert (refused.status_code, refused.json()["code"]) == (422, "image_corrupt")
    assert (beside.status_code, after.status_code) == (200, 200)
    assert await lost(client, "crashed")


async def test_a_picture_that_its_decoder_never_ends_with_is_late_and_others_are_answered(
    client: httpx.AsyncClient,
) -> None:
    _, bad = await caught(client, {"Request-Timeout": "2"})
    beside = await client.post("/v1/classify", content=image_bytes(), headers=LONG_DEADLINE)
    refused = await bad
    after = await client.post("/v1/classify", content=image_bytes(), headers=LONG_DEADLINE)

    assert (refused.status_code, refused.json()["code"]) == (504, "deadline_exceeded")
    assert (beside.status_code, after.status_code) == (200, 200)
    await until(lambda: lost(client, "given_up"), 30)


async def test_a_picture_whose_decoder_is_killed_is_answered_all_the_same(client: httpx.AsyncClient) -> None:
    pid, request = await caught(client, LONG_DEADLINE)
    os.kill(pid, signal.SIGKILL)

    assert (await request).status_code == 200
    assert await lost(client, "killed")
