"""Which images one exchange with TorchServe carries, and how its outcomes reach their images."""

import asyncio

import numpy as np
import pytest

from service.errors import BackendBadResponse, BackendUnavailable
from service.gateway.backend.torchserve import TorchServe
from service.models.cards import ModelCard
from service.tasks.base import ModelOutput
from tests.gateway.backend.test_torchserve import pixels, scores_of, soon
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_outputs import expected_scores
from tests.gateway.fixtures.fake_torchserve import POISON, FakeTorchServe

pytestmark = pytest.mark.anyio


def predict(torchserve: TorchServe, card: ModelCard, seed: int) -> "asyncio.Task[ModelOutput]":
    return asyncio.create_task(torchserve.predict(card, pixels(seed), deadline=soon(), request_id=f"r{seed}"))


async def test_what_waits_while_the_worker_is_busy_is_asked_for_in_one_exchange(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    size = card.serving.batch_size
    calls = [predict(torchserve, card, 0)]
    await until(lambda: fake.waiting == 1, 30)
    calls += [predict(torchserve, card, seed) for seed in range(1, size)]
    fake.release.set()

    answers = await asyncio.gather(*calls)

    assert [scores_of(answer, card).tolist() for answer in answers] == [
        expected_scores(card, pixels(seed)).tolist() for seed in range(size)
    ]
    assert fake.exchanges == 2
    assert len(fake.received) == size


async def test_while_the_worker_merges_batches_of_other_gateways_a_second_batch_is_sent_ahead(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    """The pass of the first image had more images than this gateway had sent."""
    await predict(torchserve, card, 0)
    fake.behaviour = "slow"
    calls = [predict(torchserve, card, seed) for seed in (1, 2)]
    await until(lambda: fake.waiting == 1, 30)
    calls.append(predict(torchserve, card, 3))
    await until(lambda: fake.waiting == 2, 30)
    calls += [predict(torchserve, card, seed) for seed in (4, 5)]
    fake.release.set()

    answers = await asyncio.gather(*calls)

    for seed, answer in enumerate(answers, start=1):
        assert np.array_equal(scores_of(answer, card), expected_scores(card, pixels(seed)))
    assert fake.exchanges == 4


async def test_pictures_of_other_shapes_are_asked_for_apart(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    shapes = [(64, 48), (48, 64), (64, 48)]
    images = [np.full((*shape, 3), 7, np.uint8) for shape in shapes]

    await asyncio.gather(
        *(
            torchserve.predict(card, each, deadline=soon(), request_id=f"{each.shape[0]}x{each.shape[1]}")
            for each in images
        )
    )

    assert [request_id for _, request_id in fake.received] == ["64x48", "64x48", "48x64"]
    assert fake.exchanges == 2


@pytest.mark.parametrize("fault", ["nonsense_about_the_last", "worker_died", "reset", "queue_full"])
async def test_the_pictures_of_a_batch_that_failed_are_asked_for_apart(
    fault: str, torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    fake.next.append(fault)

    answers = await asyncio.gather(*(predict(torchserve, card, seed) for seed in range(3)))

    for seed, answer in enumerate(answers):
        assert np.array_equal(scores_of(answer, card), expected_scores(card, pixels(seed)))
    assert sorted(request_id for _, request_id in fake.received) == ["r0", "r0", "r1", "r1", "r2", "r2"]
    assert fake.exchanges == 4


async def test_a_picture_that_spoils_its_batch_fails_alone(card: ModelCard, fake: FakeTorchServe) -> None:
    retries: list[tuple[str, str]] = []
    client = TorchServe([fake.address], lambda model, outcome: retries.append((model, outcome)))
    poison = np.full((64, 64, 3), POISON, np.uint8)
    fake.behaviour = "dies_of_poison"
    calls = [client.predict(card, each, deadline=soon(), request_id="r") for each in (pixels(1), poison, pixels(2))]

    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await client.close()

    assert isinstance(outcomes[1], BackendUnavailable)
    for seed, answer in ((1, outcomes[0]), (2, outcomes[2])):
        assert isinstance(answer, ModelOutput)
        assert np.array_equal(scores_of(answer, card), expected_scores(card, pixels(seed)))
    assert sorted(retries) == sorted([(card.name, "answered")] * 2 + [(card.name, "failed")] * 2)


async def test_the_ids_of_a_large_batch_are_cut_to_what_a_header_holds(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    large = card.model_copy(update={"serving": card.serving.model_copy(update={"batch_size": 200})})
    calls = [torchserve.predict(large, pixels(), deadline=soon(), request_id=f"{number:064d}") for number in range(200)]

    await asyncio.gather(*calls)

    assert fake.exchanges == 1
    assert {len(request_id) for _, request_id in fake.received} == {64}
    assert 50 < len(fake.received) < 64


async def test_after_the_end_nobody_is_answered_and_no_connection_is_left(
    torchserve: TorchServe, card: ModelCard
) -> None:
    await torchserve.predict(card, pixels(), deadline=soon(), request_id="in time")
    await torchserve.close()

    with pytest.raises(asyncio.CancelledError):
        await torchserve.predict(card, pixels(), deadline=soon(), request_id="late")


async def test_fewer_answers_than_pictures_are_a_bad_response_to_each(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    fake.behaviour = "one_too_few"

    outcomes = await asyncio.gather(*(predict(torchserve, card, seed) for seed in range(3)), return_exceptions=True)

    assert [type(each) for each in outcomes] == [BackendBadResponse] * 3
