"""Shadow traffic: images also go to a version that serves no caller, and no caller notices."""

import asyncio
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.gateway.inference.shadow import MAX_IN_FLIGHT
from service.models import zoo
from service.models.cards import ModelCard
from tests.gateway.conftest import Running, app_of, at_the_model, components_of, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes, json_body
from tests.gateway.inference.test_versions import MODEL, NEW, OLD, store, weigh
from tests.gateway.metrics.test_definitions import samples, value

__all__ = ["store"]
from service.tasks import task_of

pytestmark = pytest.mark.anyio

PLENTY = {"decode_processes": 4, "batches_in_flight": 4}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A traffic file: 1.0 serves all requests, and 1.1 receives every image as shadow traffic."""
    return write_traffic(tmp_path / "traffic.toml", 1)


def write_traffic(file: Path, share: float) -> Path:
    return weigh(file, {"1.0": 1}, shadow=f'{{ version = "1.1", share = {share} }}')


async def classify(client: httpx.AsyncClient, seed: int = 0, query: str = "") -> None:
    decode_queue = components_of(app_of(client)).decode_queue
    await until(lambda: decode_queue.has_room_for_background, 60)  # its processes start first
    response = await client.post(f"/v1/classify{query}", content=image_bytes(seed))
    assert response.status_code == 200
    assert response.json()["model"]["version"] == "1.0"


async def outcomes(client: httpx.AsyncClient) -> dict[str, float]:
    found = await samples(client)
    return {
        outcome: value(found, "resnest_shadow_images_total", family=MODEL, version="1.1", outcome=outcome)
        for outcome in ("compared", "failed", "dropped")
    }


def is_idle(client: httpx.AsyncClient) -> bool:
    return not components_of(app_of(client)).shadows.in_flight


async def test_a_shadow_is_shown_each_answered_picture_and_compared(
    running: Running, file: Path, fake: FakeTorchServe
) -> None:
    async with running(traffic_file=file, **PLENTY) as client:
        for seed in range(4):
            await classify(client, seed)
            await until(lambda: is_idle(client), 60)
        found = await samples(client)
        counted = await outcomes(client)

    assert (fake.images_for(OLD), fake.images_for(NEW)) == (4, 4)
    assert counted == {"compared": 4, "failed": 0, "dropped": 0}
    assert value(found, "resnest_shadow_agreement_total", family=MODEL, version="1.1") == 4
    assert value(found, "resnest_images_total", model=OLD, outcome="ok") == 4
    assert value(found, "resnest_images_total", model=NEW, outcome="ok") == 0
    assert value(found, "resnest_stage_duration_seconds_count", model=NEW, stage="inference") == 4


async def test_the_answer_is_sent_before_the_shadow_is_asked(
    running: Running, file: Path, fake: FakeTorchServe
) -> None:
    async with running(traffic_file=file, **PLENTY) as client:
        await classify(client)
        await until(lambda: is_idle(client), 60)
        fake.by_model[NEW] = "slow"
        await classify(client)
        await until(lambda: at_the_model(client, NEW) == 1, 60)
        for seed in range(3):
            await classify(client, seed)  # while the shadow version does not answer

    assert fake.images_for(OLD) == 5


async def test_a_failing_shadow_is_counted_and_nobody_else_notices(
    running: Running, file: Path, fake: FakeTorchServe
) -> None:
    async with running(traffic_file=file, **PLENTY) as client:
        fake.by_model[NEW] = "nonsense"
        await classify(client)
        await until(lambda: is_idle(client), 60)
        counted = await outcomes(client)
        found = await samples(client)

    assert counted == {"compared": 0, "failed": 1, "dropped": 0}
    assert value(found, "resnest_images_total", model=NEW, outcome="ok") == 0
    assert value(found, "resnest_images_total", model=NEW, outcome="backend_bad_response") == 0


async def test_a_shadow_is_dropped_where_the_answering_version_has_work_waiting(
    running: Running, file: Path, fake: FakeTorchServe
) -> None:
    async with running(traffic_file=file, decode_processes=4, batches_in_flight=1) as client:
        await classify(client)
        await until(lambda: is_idle(client), 60)
        fake.by_model[OLD] = "slow"
        asked = [asyncio.create_task(classify(client, seed)) for seed in range(12)]  # a batch has 8 images
        await until(lambda: at_the_model(client, OLD) == 8, 60)
        shadows = components_of(app_of(client)).shadows
        fake.by_model[OLD] = "answer"
        before = fake.images_for(NEW)
        fake.release.set()
        await asyncio.gather(*asked)
        await until(lambda: is_idle(client), 60)
        counted = await outcomes(client)

    assert counted["dropped"] > 0
    assert counted["compared"] + counted["dropped"] == 13
    assert fake.images_for(NEW) - before == counted["compared"] - 1
    assert not shadows.in_flight


def has_in_flight(client: httpx.AsyncClient, count: int) -> bool:
    return at_the_model(client, NEW) == count


async def test_no_more_shadows_are_under_way_than_their_bound(
    running: Running, file: Path, fake: FakeTorchServe
) -> None:
    async with running(traffic_file=file, decode_processes=MAX_IN_FLIGHT + 4, batches_in_flight=4) as client:
        fake.by_model[NEW] = "slow"
        for seed in range(MAX_IN_FLIGHT + 3):
            await classify(client, seed)
            await until(partial(has_in_flight, client, min(seed + 1, MAX_IN_FLIGHT)), 60)
        counted = await outcomes(client)

    assert counted["dropped"] == 3


async def test_only_the_asked_for_share_of_pictures_is_shown(
    running: Running, file: Path, fake: FakeTorchServe
) -> None:
    write_traffic(file, 0.5)
    async with running(traffic_file=file, **PLENTY) as client:
        for seed in range(24):
            await classify(client, seed)
            await until(lambda: is_idle(client), 60)

    assert 3 < fake.images_for(NEW) < 21  # beyond: a probability of one in ten thousand


async def test_what_is_no_plain_answer_is_not_shown(running: Running, file: Path, fake: FakeTorchServe) -> None:
    async with running(traffic_file=file, cache_bytes=1_000_000, **PLENTY) as client:
        await classify(client)
        await until(lambda: is_idle(client), 60)
        await classify(client)  # a hit in the response cache
        assert (await client.post("/v1/embed", content=image_bytes())).status_code == 200
        await client.post("/v1/classify", content=CORRUPT)
        mixed = await client.post("/v1/classify", json=json_body(image_bytes(1), CORRUPT))
        await until(lambda: is_idle(client), 60)

        counted = await outcomes(client)

    assert mixed.status_code == 200
    assert counted == {"compared": 2, "failed": 0, "dropped": 0}
    assert fake.images_for(NEW) == 2


async def test_the_shadow_itself_is_not_shown_its_own_answers(
    running: Running, file: Path, fake: FakeTorchServe
) -> None:
    async with running(traffic_file=file, **PLENTY) as client:
        answer = await client.post("/v1/classify", content=image_bytes(), headers={"X-Model-Version": "1.1"})
        counted = await outcomes(client)
        models = (await client.get("/v1/models")).json()["models"]

    assert answer.json()["model"]["version"] == "1.1"
    assert set(counted.values()) == {0}
    assert {row["name"]: row["shadow"] for row in models if row["name"].partition("@")[0] == MODEL} == {OLD: 0, NEW: 1}


async def test_the_end_does_not_wait_for_shadows(running: Running, file: Path, fake: FakeTorchServe) -> None:
    async with asyncio.timeout(120):
        async with running(traffic_file=file, **PLENTY) as client:
            fake.by_model[NEW] = "slow"
            await classify(client)
            await until(lambda: fake.waiting == 1, 60)


def classifier(store: Path, *labels: str) -> ModelCard:
    card = zoo.read_all(store)[MODEL]
    named = tuple(each.model_copy(update={"label": label}) for each, label in zip(card.classes, labels, strict=False))
    changed = card.model_copy()
    changed.__dict__["classes"] = named
    return changed


def test_classes_agree_by_their_labels_and_not_their_ids(store: Path) -> None:
    first, second = classifier(store, "cat", "dog"), classifier(store, "dog", "cat")
    scores = np.array([0.9, 0.1], np.float32)

    assert task_of(first).agreement(first, {"scores": scores}, second, {"scores": scores[::-1]}) == 1
    assert task_of(first).agreement(first, {"scores": scores}, second, {"scores": scores}) == 0
    assert (
        task_of(first).agreement(first, {"scores": scores}, classifier(store, "cat", "fox"), {"scores": scores[::-1]})
        == 0
    )


def test_masks_agree_by_the_share_of_their_pixels_at_whatever_size(store: Path) -> None:
    card = zoo.read_all(store)["tiny-segmenter"]
    mask = np.zeros((4, 8), np.uint8)
    mask[:, 4:] = 1
    half = mask.copy()
    half[:, 4:6] = 2

    assert task_of(card).agreement(card, {"mask": mask}, card, {"mask": mask}) == 1
    assert task_of(card).agreement(card, {"mask": mask}, card, {"mask": half}) == 0.75
    assert task_of(card).agreement(card, {"mask": mask}, card, {"mask": np.kron(mask, np.ones((2, 3), np.uint8))}) == 1
    assert task_of(card).agreement(card, {"mask": mask}, card, {"mask": mask[::2, ::2]}) == 1
