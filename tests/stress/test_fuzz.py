"""A real service that receives many thousand slightly damaged bodies and requests."""

import asyncio
import io
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.e2e.running import Running
from tests.e2e.test_answers import upload
from tests.fuzzing import STATUS, corrupt_request, encode_request, exchange, mutate_one, request_body
from tests.imaging.formats.test_heic import UPRIGHT
from tests.stress.scale import REFUSED, scaled

pytestmark = [pytest.mark.stress, pytest.mark.timeout(7200)]

ROUTES = (
    "/v1/classify",
    "/v1/segment?mask=none",
    "/v1/segment?overlay=webp&mask=none",
    "/v1/detect",
    "/v1/detect?min_score=0&mask=polygons&tolerance=2",
    "/v1/detect?min_score=0&overlay=webp&mask=none",
)
CONNECTIONS = 32
MUTATIONS = scaled(100_000)
ATTEMPTS = 60  # a service that refuses a body for a minute refuses it for what it is
PATIENT = {"Request-Timeout": "60"}  # a busy machine may stop everything for ten seconds
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

Work = Callable[[aiohttp.ClientSession, int], Awaitable[None]]


def is_overload(reply: bytes) -> bool:
    """Return whether a reply is a refusal for load.

    It says nothing of the body, and the API's documents ask the caller to repeat the request. So it is no answer here.
    """
    return b'"code":"overloaded"' in reply


async def all_of(service: Running, count: int, work: Work) -> None:
    """Run `work` with each number below `count`, over a bounded number of connections."""
    numbers = iter(range(count))
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(str(service.client.base_url), connector=connector) as session:

        async def one_connection() -> None:
            for number in numbers:
                await work(session, number)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(one_connection())


def test_no_mutated_upload_is_answered_by_a_5xx(service: Running) -> None:
    originals = [*(upload(seed, 64, 48, kind) for seed in range(4) for kind in KINDS), UPRIGHT]
    chance = random.Random(2)
    statuses: Counter[int] = Counter()
    refused: Counter[str] = Counter()

    async def work(session: aiohttp.ClientSession, _number: int) -> None:
        body, headers = request_body(chance, mutate_one(chance, originals))
        headers |= PATIENT
        route = chance.choice(ROUTES)
        for _ in range(ATTEMPTS):
            async with session.post(route, data=io.BytesIO(body), headers=headers) as response:
                if not is_overload(await response.read()):
                    break
            refused[route] += 1
            await asyncio.sleep(float(response.headers["Retry-After"]))
        statuses[response.status] += 1

    asyncio.run(all_of(service, MUTATIONS, work))
    assert statuses.total() == MUTATIONS
    assert set(statuses) <= {200, 400, 413, 415, 422}, statuses
    assert statuses[422] > 0
    print(f"{statuses}, refused for load and sent again: {refused.total()}")  # noqa: T201 - shown with `-rP`
    assert refused.total() <= REFUSED * MUTATIONS, refused
    assert service.client.get("/readyz").status_code == 200


def test_no_spoilt_request_is_answered_by_a_5xx(service: Running) -> None:
    content = upload(1, 64, 48, "PNG")
    chance = random.Random(5)
    statuses: Counter[int] = Counter()
    refused: Counter[str] = Counter()
    numbers = iter(range(MUTATIONS))

    async def one_connection() -> None:
        for _ in numbers:
            body, headers = request_body(chance, content)
            route = chance.choice(ROUTES)
            request = corrupt_request(chance, encode_request(route, body, {**headers, **PATIENT}))
            for _ in range(ATTEMPTS):
                reply = await exchange(service.client.base_url.port, request, patience_s=1)
                if not is_overload(reply):
                    break
                refused[route] += 1
                await asyncio.sleep(1)
            statuses.update(int(status) for status in STATUS.findall(reply[:64]))

    async def all_connections() -> None:
        await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))

    asyncio.run(all_connections())
    assert all(status < 500 for status in statuses), statuses
    assert statuses[400] > 0
    print(f"{statuses}, refused for load and sent again: {refused.total()}")  # noqa: T201 - shown with `-rP`
    assert refused.total() <= REFUSED * MUTATIONS, refused
    assert service.client.get("/readyz").status_code == 200
