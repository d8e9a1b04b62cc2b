"""How images reach a worker: in shared memory where it reads that, else as bytes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import BackendUnavailable
from service.gateway.backend.torchserve import TorchServe
from service.gateway.uploads.arena import Arena
from service.models.cards import ModelCard
from service.tasks import shared_image
from service.tasks.base import ModelOutput
from service.tasks.shared_image import InputImage, SharedImage
from tests.gateway.backend.test_torchserve import pixels, scores_of, soon
from tests.gateway.fixtures.fake_outputs import expected_scores
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.anyio


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(shared_image.FOLDER, 1 << 20)
    made.open()
    yield made
    made.close()


@pytest.fixture
def sent() -> Counter[str]:
    return Counter()


@pytest.fixture
async def client(fake: FakeTorchServe, sent: Counter[str]) -> AsyncIterator[TorchServe]:
    made = TorchServe([fake.address], on_sent=lambda _model, transport, images: sent.update({transport: images}))
    yield made
    await made.close()


def stored(arena: Arena, seed: int = 0) -> SharedImage:
    image = pixels(seed)
    block = arena.allocate(image.nbytes)
    assert block is not None
    assert shared_image.write(block, image)
    return SharedImage(arena, block, image.shape)


async def predict(client: TorchServe, card: ModelCard, image: InputImage) -> ModelOutput:
    return await client.predict(card, image, deadline=soon(), request_id="r")


def is_answer_to(output: ModelOutput, seed: int, card: ModelCard) -> bool:
    return np.array_equal(scores_of(output, card), expected_scores(card, pixels(seed)))


async def test_a_worker_on_this_host_reads_images_in_shared_memory(
    client: TorchServe, card: ModelCard, fake: FakeTorchServe, arena: Arena, sent: Counter[str]
) -> None:
    images = [stored(arena, seed) for seed in range(4)]

    outputs = await asyncio.gather(*(predict(client, card, image) for image in images))

    assert all(is_answer_to(output, seed, card) for seed, output in enumerate(outputs))
    assert (fake.references, sent) == (4, Counter(shared_memory=4))


async def test_images_in_shared_memory_and_others_share_a_batch(
    client: TorchServe, card: ModelCard, fake: FakeTorchServe, arena: Arena, sent: Counter[str]
) -> None:
    images: list[InputImage] = [stored(arena, 0), pixels(1), stored(arena, 2), pixels(3)]

    outputs = await asyncio.gather(*(predict(client, card, image) for image in images))

    assert all(is_answer_to(output, seed, card) for seed, output in enumerate(outputs))
    assert (fake.exchanges, sent) == (1, Counter(shared_memory=2, bytes=2))


async def test_a_worker_elsewhere_gets_bytes_at_once_and_from_then_on(
    client: TorchServe, card: ModelCard, fake: FakeTorchServe, arena: Arena, sent: Counter[str]
) -> None:
    fake.shares_memory = False
    assert client.shares_memory(card)

    outputs = [await predict(client, card, stored(arena, seed)) for seed in range(3)]

    assert all(is_answer_to(output, seed, card) for seed, output in enumerate(outputs))
    assert (fake.references, fake.exchanges) == (1, 4)
    assert sent == Counter(shared_memory=1, bytes=3)
    assert not client.shares_memory(card)


async def test_a_worker_that_replaces_one_elsewhere_is_asked_again(
    client: TorchServe, card: ModelCard, fake: FakeTorchServe, arena: Arena
) -> None:
    fake.shares_memory = False
    await client.workers(card)
    await predict(client, card, stored(arena))
    await client.workers(card)
    assert not client.shares_memory(card)

    fake.shares_memory = True
    fake.workers[card.name] = [{"pid": 101, "status": "READY"}]
    await client.workers(card)

    assert client.shares_memory(card)
    assert is_answer_to(await predict(client, card, stored(arena, 5)), 5, card)
    assert fake.references == 2


async def test_an_image_that_was_released_fails_alone_and_stops_no_sharing(
    client: TorchServe, card: ModelCard, fake: FakeTorchServe, arena: Arena
) -> None:
    images = [stored(arena, seed) for seed in range(3)]
    images[1].release()
    other = stored(arena, 7)  # in the same block

    outcomes = await asyncio.gather(
        *(predict(client, card, image) for image in [*images, other]), return_exceptions=True
    )

    assert isinstance(outcomes[1], BackendUnavailable)
    for seed, index in ((0, 0), (2, 2), (7, 3)):
        output = outcomes[index]
        assert isinstance(output, ModelOutput)
        assert is_answer_to(output, seed, card)
    assert client.shares_memory(card)
    assert fake.references == 5  # the one that was released twice


async def test_a_retry_on_another_server_gets_bytes_where_that_one_is_elsewhere(
    card: ModelCard, arena: Arena, short_folder: Path, served: dict[str, ModelCard]
) -> None:
    (short_folder / "near").mkdir()
    (short_folder / "far").mkdir()
    near, far = (FakeTorchServe(short_folder / name, served) for name in ("near", "far"))
    far.shares_memory = False
    async with near.serving(), far.serving():
        client = TorchServe([near.address, far.address])
        for seed in range(6):
            near.next.append("worker_died")
            assert is_answer_to(await predict(client, card, stored(arena, seed)), seed, card)
        assert client.shares_memory(card)
        await client.close()

    assert far.references == 1
    assert far.exchanges > near.references
