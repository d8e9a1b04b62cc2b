"""The response cache as callers see it: the same answer, sooner, and never that of another caller."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.config.api_keys import digest
from tests.gateway.conftest import Running, at_the_model, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes, json_body
from tests.gateway.metrics.test_definitions import samples, value
from tests.stores import write_store

pytestmark = pytest.mark.anyio

MODEL = "tiny-classifier"
CACHING = {"cache_bytes": 1 << 20}


def body_of(response: httpx.Response) -> Any:
    """Return the document of a response without its id and times."""
    assert response.status_code == 200, response.text
    return {name: part for name, part in response.json().items() if name not in {"request_id", "timing_ms"}}


async def test_nothing_is_kept_unless_that_is_asked_for(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    for _ in range(2):
        response = await client.post("/v1/classify", content=image_bytes())

    assert fake.images_for(MODEL) == 2
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers


async def test_the_same_picture_is_asked_about_once_whatever_is_to_be_told_of_it(
    running: Running, fake: FakeTorchServe
) -> None:
    async with running(**CACHING) as client:
        first = await client.post("/v1/classify", content=image_bytes())
        again = await client.post("/v1/classify", content=image_bytes())
        more = await client.post("/v1/classify?top_k=7", content=image_bytes())
        other = await client.post("/v1/classify", content=image_bytes(1))
        found = await samples(client)

    assert fake.images_for(MODEL) == 2
    assert body_of(again) == body_of(first) != body_of(other)
    assert body_of(more)["results"][0]["predictions"][:5] == body_of(first)["results"][0]["predictions"]
    assert [each.headers["cache-status"].split("; ")[1] for each in (first, again, more)] == ["fwd=miss", "hit", "hit"]
    assert again.json()["timing_ms"]["inference"] == 0
    assert again.json()["request_id"] != first.json()["request_id"]
    assert value(found, "resnest_cache_lookups_total", outcome="hit") == 2
    assert value(found, "resnest_images_total", model=MODEL, outcome="ok") == 4
    assert 0 < value(found, "resnest_cache_bytes") <= CACHING["cache_bytes"]


@pytest.mark.parametrize("query", ["", "?confidence=true", "?overlay=png&mask=none", "?mask=rle"])
async def test_a_kept_mask_is_drawn_as_a_new_one(query: str, running: Running, client: httpx.AsyncClient) -> None:
    async with running(**CACHING) as caching:
        answers = [await each.post(f"/v1/segment{query}", content=image_bytes()) for each in (client, caching, caching)]

    assert body_of(answers[0]) == body_of(answers[1]) == body_of(answers[2])


async def test_questions_and_models_are_kept_apart(running: Running, fake: FakeTorchServe) -> None:
    async with running(**CACHING) as client:
        for _ in range(2):
            for path in ("classify", "classify?model=tiny-classifier-b", "embed", "explain"):
                body_of(await client.post(f"/v1/{path}", content=image_bytes()))

    assert (fake.images_for(MODEL), fake.images_for("tiny-classifier-b")) == (3, 1)


async def test_each_caller_with_a_key_has_answers_of_its_own(running: Running, fake: FakeTorchServe) -> None:
    lines = "\n".join(f"{name} classify {digest(name)}" for name in ("ann", "bob"))
    async with running(keys=lines, **CACHING) as client:
        for name in ("ann", "bob", "ann"):
            body_of(await client.post("/v1/classify", content=image_bytes(), headers={"X-API-Key": name}))

    assert fake.images_for(MODEL) == 2


async def test_a_failure_is_not_kept_and_one_picture_of_many_is(running: Running, fake: FakeTorchServe) -> None:
    async with running(**CACHING) as client:
        fake.next.append("nonsense")
        failed = await client.post("/v1/classify", content=image_bytes())
        for _ in range(2):
            mixed = await client.post("/v1/classify", json=json_body(image_bytes(), CORRUPT))

    assert failed.status_code == 502
    assert fake.images_for(MODEL) == 2
    assert "etag" not in mixed.headers
    assert mixed.json()["results"][1]["error"]["code"] == "image_corrupt"


async def test_equal_pictures_under_way_are_computed_once(running: Running, fake: FakeTorchServe) -> None:
    async with running(**CACHING) as client:
        fake.behaviour = "slow"
        requests = [asyncio.create_task(client.post("/v1/classify", content=image_bytes())) for _ in range(4)]
        await until(lambda: fake.waiting == 1, 60)
        fake.release.set()
        answers = [body_of(await each) for each in requests]

    assert all(answer == answers[0] for answer in answers)
    assert fake.images_for(MODEL) == 1


async def test_a_kept_answer_is_given_though_the_house_is_full(running: Running, fake: FakeTorchServe) -> None:
    async with running(max_in_flight=2, max_images=2, **CACHING) as client:
        first = await client.post("/v1/classify", content=image_bytes())
        fake.behaviour = "slow"
        others = [asyncio.create_task(client.post("/v1/classify", content=image_bytes(seed))) for seed in (1, 2)]
        await until(lambda: at_the_model(client) == 2, 60)
        again = await client.post("/v1/classify", content=image_bytes())
        late = await client.post("/v1/classify", content=image_bytes(), headers={"Request-Timeout": "60"})
        mixed = await client.post("/v1/classify", json=json_body(image_bytes(), image_bytes(3)))
        full = await client.post("/v1/classify", content=image_bytes(3))
        fake.release.set()
        served = [(await other).status_code for other in others]

    assert body_of(again) == body_of(late) == body_of(first)
    assert again.headers["cache-status"].endswith("hit")
    assert [(each.status_code, each.json()["code"]) for each in (mixed, full)] == [(503, "overloaded")] * 2
    assert served == [200, 200]


async def test_a_caller_who_leaves_takes_no_answer_along(running: Running, fake: FakeTorchServe) -> None:
    async with running(**CACHING) as client:
        fake.behaviour = "slow"
        leaving = asyncio.create_task(client.post("/v1/classify", content=image_bytes()))
        await until(lambda: fake.waiting == 1, 60)
        staying = [asyncio.create_task(client.post("/v1/classify", content=image_bytes())) for _ in range(3)]
        leaving.cancel()
        await until(lambda: at_the_model(client) > 1, 60)
        fake.release.set()
        answers = [body_of(await each) for each in staying]

    assert all(answer == answers[0] for answer in answers)


async def test_a_client_that_has_the_answer_is_told_so(running: Running, fake: FakeTorchServe) -> None:
    async with running(**CACHING) as client:
        first = await client.post("/v1/classify", content=image_bytes())
        condition = {"If-None-Match": first.headers["etag"]}
        again = await client.post("/v1/classify", content=image_bytes(), headers=condition)
        others = [
            await client.post("/v1/classify?top_k=1", content=image_bytes(), headers=condition),
            await client.post("/v1/classify", content=image_bytes(1), headers=condition),
            await client.post("/v1/classify", content=image_bytes(), headers={"If-None-Match": "*"}),
        ]
        bad = await client.post("/v1/classify", content=CORRUPT, headers=condition)

    assert first.headers["cache-control"] == "private, no-cache"
    assert (again.status_code, again.json()["code"]) == (412, "precondition_failed")
    assert again.headers["cache-control"] == "no-store"
    assert [each.status_code for each in others] == [200] * 3
    assert bad.status_code == 422


async def test_an_answer_by_weights_imported_anew_under_one_version_is_another(
    running: Running, tmp_path: Path
) -> None:
    folder = write_store(tmp_path, MODEL, weights=False) / MODEL
    card = folder.joinpath("card.toml").read_text(encoding="utf-8")
    sources = 'sources = [{urls = ["https://example.org/mine.pth"], sha256 = "00000000"}]'
    folder.joinpath("card.toml").write_text(card.replace(f'sha256 = "{"0" * 64}"', sources), encoding="utf-8")
    tags = []
    for digit in "112":
        folder.joinpath("weights.safetensors.sha256").write_text(
            f"{digit * 64}  weights.safetensors\n", encoding="utf-8"
        )
        async with running(model_store=tmp_path, **CACHING) as client:
            tags.append((await client.post("/v1/classify", content=image_bytes())).headers["etag"])

    assert tags[0] == tags[1] != tags[2]
