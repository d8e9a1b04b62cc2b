"""A real service under many thousand requests."""

import asyncio
import io
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.e2e.running import Running
from tests.e2e.test_answers import upload
from tests.fuzzing import choose, enveloped, spoilt, written
from tests.gateway.test_fuzz import STATUS, answers
from tests.test_heic import UPRIGHT

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]

REQUESTS = 20_000
CONNECTIONS = 32
PICTURES = 24
MUTATIONS = 100_000
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
IMPATIENT = 0.05  # the share of clients that leave before their answer

Scores = dict[int, float]
Work = Callable[[aiohttp.ClientSession, int], Awaitable[None]]


async def classify(session: aiohttp.ClientSession, data: bytes) -> Scores:
    headers = {"Content-Type": "application/octet-stream"}
    async with session.post("/v1/classify?top_k=7", data=io.BytesIO(data), headers=headers) as response:
        assert response.status == 200, await response.text()
        (result,) = (await response.json())["results"]
    return {each["class_id"]: each["score"] for each in result["predictions"]}


async def all_of(service: Running, count: int, work: Work) -> None:
    """`work` with each number below `count`, over a bounded number of connections."""
    numbers = iter(range(count))
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(str(service.client.base_url), connector=connector) as session:

        async def one_connection() -> None:
            for number in numbers:
                await work(session, number)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(one_connection())


def test_every_answer_belongs_to_its_request_while_clients_come_and_go(service: Running) -> None:
    pictures = [upload(seed, 96, 72, "PNG") for seed in range(PICTURES)]
    alone: dict[int, Scores] = {}
    chance = random.Random(1)
    answered: Counter[int] = Counter()

    async def alone_first() -> None:
        async with aiohttp.ClientSession(str(service.client.base_url)) as session:
            for place, data in enumerate(pictures):
                alone[place] = await classify(session, data)

    async def work(session: aiohttp.ClientSession, number: int) -> None:
        place = number % PICTURES
        if chance.random() < IMPATIENT:
            task = asyncio.create_task(classify(session, pictures[place]))
            await asyncio.wait([task], timeout=chance.uniform(0, 0.05))
            task.cancel()
            await asyncio.wait([task])
            return
        assert await classify(session, pictures[place]) == pytest.approx(alone[place], abs=1e-4)
        answered[place] += 1

    asyncio.run(alone_first())
    # Were two of them alike, a swapped answer would go unseen.
    for one in range(PICTURES):
        for other in range(one):
            assert max(abs(alone[one][each] - alone[other][each]) for each in alone[one]) > 1e-3
    asyncio.run(all_of(service, REQUESTS, work))
    assert answered.total() > REQUESTS * (1 - 2 * IMPATIENT)


def test_no_mutated_upload_is_answered_by_a_5xx(service: Running) -> None:
    originals = [*(upload(seed, 64, 48, kind) for seed in range(4) for kind in KINDS), UPRIGHT]
    chance = random.Random(2)
    statuses: Counter[int] = Counter()

    async def work(session: aiohttp.ClientSession, _number: int) -> None:
        body, headers = enveloped(chance, choose(chance, originals))
        route = chance.choice(("/v1/classify", "/v1/segment?mask=none", "/v1/segment?overlay=webp&mask=none"))
        async with session.post(route, data=io.BytesIO(body), headers=headers) as response:
            statuses[response.status] += 1
            await response.read()

    asyncio.run(all_of(service, MUTATIONS, work))
    assert statuses.total() == MUTATIONS
    assert set(statuses) <= {200, 400, 413, 415, 422}, statuses
    assert statuses[422] > 0
    assert service.client.get("/readyz").status_code == 200


def test_no_spoilt_request_is_answered_by_a_5xx(service: Running) -> None:
    content = upload(1, 64, 48, "PNG")
    chance = random.Random(5)
    statuses: Counter[int] = Counter()
    numbers = iter(range(MUTATIONS))

    async def one_connection() -> None:
        for _ in numbers:
            request = spoilt(chance, written("/v1/classify", *enveloped(chance, content)))
            told = await answers(service.client.base_url.port, request, patience_s=1)
            statuses.update(int(status) for status in STATUS.findall(told[:64]))

    async def all_connections() -> None:
        await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))

    asyncio.run(all_connections())
    assert all(status < 500 for status in statuses), statuses
    assert statuses[400] > 0
    assert service.client.get("/readyz").status_code == 200
