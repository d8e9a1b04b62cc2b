"""A few hundred nearly valid bodies and requests. `make stress` sends 100,000 to a real service."""

import asyncio
import random
from collections import Counter

import pytest

from tests.fuzzing import STATUS, corrupt_request, encode_request, exchange, mutate_one, request_body
from tests.gateway.conftest import Running
from tests.gateway.fixtures.images import image_bytes
from tests.imaging.formats.test_heic import UPRIGHT

pytestmark = pytest.mark.anyio

CASES = 300
CONNECTIONS = 6
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ORIGINALS = [*(image_bytes(3, kind=kind) for kind in KINDS), UPRIGHT]
PATHS = (
    *("/v1/classify", "/v1/segment?mask=rle", "/v1/segment?overlay=webp", "/v1/embed", "/v1/explain"),
    *("/v1/detect?min_score=0", "/v1/detect?overlay=png&mask=polygons"),
)
EXPECTED_STATUSES = {100, 200, 400, 404, 405, 406, 408, 413, 415, 422, 431}


async def test_no_mutated_body_is_our_failure(running: Running) -> None:
    chance = random.Random(3)
    statuses: Counter[int] = Counter()
    async with running() as client:
        for _ in range(CASES):
            body, headers = request_body(chance, mutate_one(chance, ORIGINALS))
            headers["Request-Timeout"] = "60"
            response = await client.post(chance.choice(PATHS), content=body, headers=headers)
            statuses[response.status_code] += 1
        after = await client.post("/v1/classify", content=ORIGINALS[0])

    assert set(statuses) <= EXPECTED_STATUSES, statuses
    assert statuses[422] > 0
    assert statuses[200] > 0
    assert after.status_code == 200


async def test_no_spoilt_request_is_our_failure_and_the_service_lives(listening: Running) -> None:
    chance = random.Random(4)
    statuses: Counter[int] = Counter()
    async with listening(header_timeout_s=1, upload_timeout_s=1) as client:
        port = client.base_url.port

        async def one_connection() -> None:
            for _ in range(CASES // CONNECTIONS):
                body, headers = request_body(chance, chance.choice(ORIGINALS))
                request = encode_request(chance.choice(PATHS), body, {**headers, "Request-Timeout": "60"})
                received = await exchange(port, corrupt_request(chance, request))
                statuses.update(int(status) for status in STATUS.findall(received[:64]))

        await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
        after = await client.post("/v1/classify", content=ORIGINALS[0], headers={"Request-Timeout": "60"})

    assert set(statuses) <= EXPECTED_STATUSES, statuses
    assert statuses[400] > 0
    assert after.status_code == 200
