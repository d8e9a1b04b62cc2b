"""Rate limits as callers see them: the headers of each answer, and the rejections."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from service.config.api_keys import digest
from service.tasks.shapes import Problem
from tests.gateway.conftest import Running, app_of, at_the_model, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes, json_body
from tests.gateway.fixtures.redis_server import RedisServer
from tests.gateway.test_app import Crashing
from tests.gateway.uploads.test_upload_limits import call as sent

pytestmark = pytest.mark.anyio

KEYS = "\n".join(
    [
        f"slow classify,segment {digest('slow')} rate=0.01 burst=5",
        f"narrow classify {digest('narrow')} concurrency=2",
        f"free classify {digest('free')}",
        f"boss admin {digest('boss')} rate=0.01 burst=1",
    ]
)
SLOW = {"X-API-Key": "slow"}


async def classify(
    client: httpx.AsyncClient, key: str | None = None, images: int = 1, sender: str | None = None
) -> httpx.Response:
    headers = {} if key is None else {"X-API-Key": key}
    if sender is not None:
        headers["X-Forwarded-For"] = sender
    return await client.post("/v1/classify", json=json_body(*[image_bytes()] * images), headers=headers)


def left_of(response: httpx.Response) -> dict[str, int]:
    """Return what is left by the `RateLimit` header; each of its members must be a policy of `RateLimit-Policy`."""
    item = re.compile(r'"([a-z]+)"((?:;[a-z]+=(?:\d+|"[a-z-]+"))+)')
    policies = dict(item.findall(response.headers["ratelimit-policy"]))
    limits = dict(item.findall(response.headers["ratelimit"]))
    assert policies.keys() == limits.keys()
    assert all(re.match(r";q=\d+", policy) for policy in policies.values())
    return {name: int(re.findall(r";r=(\d+)", limit)[0]) for name, limit in limits.items()}


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    document: dict[str, Any] = response.json()
    Problem.model_validate(document)
    assert (response.status_code, document["code"]) == (status, code), document
    return document


async def test_a_caller_is_told_its_limit_and_what_is_left_with_every_answer(running: Running) -> None:
    async with running(keys=KEYS) as client:
        answers = [
            await classify(client, "slow"),
            await client.post("/v1/classify", content=b"no image", headers=SLOW),
            await client.get("/v1/models", headers=SLOW),
            await client.get("/v1/classify", headers=SLOW),
        ]

    assert [answer.status_code for answer in answers] == [200, 415, 200, 405]
    assert [left_of(answer) for answer in answers] == [{"images": left} for left in (4, 3, 2, 1)]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"images";q=5;w=500'}
    assert answers[0].headers["ratelimit"] == '"images";r=4;t=100'


async def test_who_sends_more_is_told_when_to_come_again(running: Running) -> None:
    async with running(keys=KEYS) as client:
        for _ in range(5):
            assert (await classify(client, "slow")).status_code == 200
        response = await classify(client, "slow")

    document = problem(response, 429, "rate_limited")
    assert (document["limit"], document["violated-policies"]) == (5, ["images"])
    assert 50 < int(response.headers["retry-after"]) <= 100
    assert left_of(response) == {"images": 0}


async def test_each_picture_counts_and_once_for_each_model(running: Running) -> None:
    async with running(keys=KEYS) as client:
        two = await classify(client, "slow", images=2)
        one_by_two = await client.post(
            "/v1/classify?model=tiny-classifier&model=tiny-classifier-b", content=image_bytes(), headers=SLOW
        )

    assert left_of(two) == {"images": 3}
    assert (one_by_two.status_code, left_of(one_by_two)) == (200, {"images": 1})


async def test_a_request_that_only_waiting_can_let_in_waits_and_one_that_none_can_is_too_large(
    running: Running, fake: FakeTorchServe
) -> None:
    async with running(keys=KEYS) as client:
        await classify(client, "slow", images=3)
        asked = fake.images_for("tiny-classifier")
        wait = await classify(client, "slow", images=4)
        never = await classify(client, "slow", images=6)

    assert 200 < int(wait.headers["retry-after"]) <= 300
    problem(wait, 429, "rate_limited")
    document = problem(never, 413, "too_many_images")
    assert (document["limit"], document["actual"]) == (5, 6)
    assert fake.images_for("tiny-classifier") == asked


async def test_a_request_over_the_limit_is_refused_before_its_body_is_read(running: Running) -> None:
    async with running(keys=KEYS) as client:
        await classify(client, "slow", images=5)
        chunk = {"type": "http.request", "body": b"x", "more_body": True}

        assert await sent(app_of(client), {"Transfer-Encoding": "chunked", **SLOW}, chunk) == (429, 0)


async def test_so_many_requests_are_answered_at_one_time_and_the_next_after_one_of_them(
    running: Running, fake: FakeTorchServe
) -> None:
    async with running(keys=KEYS) as client:
        fake.behaviour = "slow"
        held = [asyncio.create_task(classify(client, "narrow")) for _ in range(2)]
        await until(lambda: at_the_model(client) >= 2, 30)
        refused = await classify(client, "narrow")
        other = await client.get("/v1/models", headers={"X-API-Key": "free"})
        fake.release.set()
        answers = await asyncio.gather(*held)
        again = await classify(client, "narrow")

    document = problem(refused, 429, "concurrency_limited")
    assert (document["limit"], document["actual"], document["violated-policies"]) == (2, 3, ["concurrency"])
    assert refused.headers["retry-after"] == "1"
    assert left_of(refused) == {"concurrency": 0}
    assert refused.headers["ratelimit-policy"] == '"concurrency";q=2;qu="concurrent-requests"'
    assert [answer.status_code for answer in [*answers, again, other]] == [200] * 4


async def test_a_crash_of_ours_tells_what_is_left_too(running: Running) -> None:
    async with running(Crashing(), keys=KEYS) as client:
        response = await classify(client, "slow")

    problem(response, 500, "internal")
    assert left_of(response) == {"images": 4}


async def test_who_has_no_limit_hears_of_none(running: Running) -> None:
    async with running(keys=KEYS) as client:
        response = await classify(client, "free")

    assert response.status_code == 200
    assert not {"ratelimit", "ratelimit-policy"} & set(response.headers)


async def test_administrators_are_never_shut_out(running: Running) -> None:
    async with running(keys=KEYS, caller_rate=0.01, caller_burst=1) as client:
        statuses = [(await client.get("/metrics", headers={"X-API-Key": "boss"})).status_code for _ in range(4)]
        probes = [(await client.get("/readyz")).status_code for _ in range(4)]

    assert statuses == probes == [200] * 4


async def test_callers_without_keys_are_limited_by_address_and_cannot_choose_it(running: Running) -> None:
    async with running(caller_rate=0.01, caller_burst=2) as client:
        statuses = [(await classify(client, sender=f"192.0.2.{number}")).status_code for number in range(4)]

    assert statuses == [200, 200, 429, 429]


async def test_behind_a_trusted_proxy_each_address_has_its_own_limit(running: Running) -> None:
    async with running(caller_rate=0.01, caller_burst=1, trusted_proxies="127.0.0.0/8") as client:
        senders = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "6.6.6.6, 192.0.2.2"]
        statuses = [(await classify(client, sender=sender)).status_code for sender in senders]

    assert statuses == [200, 200, 429, 429]


async def test_refusals_are_counted_by_caller(running: Running) -> None:
    async with running(keys=KEYS) as client:
        for _ in range(7):
            await classify(client, "slow")
        text = (await client.get("/metrics", headers={"X-API-Key": "boss"})).text

    assert 'resnest_caller_requests_total{caller="slow",outcome="admitted"} 5.0' in text
    assert 'resnest_caller_requests_total{caller="slow",outcome="rate_limited"} 2.0' in text
    assert 'resnest_problems_total{code="rate_limited"} 2.0' in text


async def limits_of(client: httpx.AsyncClient) -> str:
    found: str = (await client.get("/readyz")).json()["limits"]
    return found


async def test_gateways_with_one_redis_share_the_limit(running: Running, redis_server: RedisServer) -> None:
    settings = {"keys": KEYS, "redis_url": redis_server.url, "redis_timeout_s": 30}
    async with running(**settings) as one, running(**settings) as other:
        left = [left_of(await classify(client, "slow")) for client in (one, other, one)]
        state = await limits_of(one)

    assert left == [{"images": 4}, {"images": 3}, {"images": 2}]
    assert state == "shared"


@pytest.mark.parametrize(("without", "status"), [("local", 200), ("reject", 503)])
async def test_without_its_redis_a_gateway_goes_on_alone_or_refuses_as_it_is_set_to(
    without: str, status: int, running: Running, redis_server: RedisServer
) -> None:
    settings = {"keys": KEYS, "redis_url": redis_server.url, "redis_timeout_s": 30, "redis_fallback": without}
    async with running(**settings) as client:
        redis_server.stop()
        limited = await classify(client, "slow")
        unlimited = await classify(client, "free")
        text = (await client.get("/metrics", headers={"X-API-Key": "boss"})).text
        state = await limits_of(client)

    assert (limited.status_code, unlimited.status_code) == (status, 200)
    if status == 503:
        problem(limited, 503, "rate_limits_unavailable")
        assert limited.headers["retry-after"] == "1"
    assert "resnest_rate_limit_store_unavailable 1.0" in text
    assert state == "failing"


async def test_where_limits_are_counted_here_readiness_says_so(running: Running) -> None:
    async with running() as client:
        assert await limits_of(client) == "local"
