"""The TorchServe client keeps nothing of a model that is no longer served."""

import asyncio

import numpy as np
import pytest

from service.gateway.backend.replicas import Replica, Replicas
from service.gateway.backend.torchserve import TorchServe
from service.models.cards import ModelCard
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.anyio

BLACK = np.zeros((64, 64, 3), np.uint8)


def entries(holder: object, model: str) -> list[str]:
    """Return the dictionaries with an entry for a model, among the attributes of an object and of those it holds."""
    found: list[str] = []
    for name, value in vars(holder).items():
        if isinstance(value, dict):
            found += [name for key in value if isinstance(key, str) and key.partition(" ")[0] == model]
        for held in value.values() if isinstance(value, dict) else [value]:
            found += entries(held, model) if isinstance(held, Replicas | Replica) else []
    return found


def in_five_seconds() -> float:
    return asyncio.get_running_loop().time() + 5


@pytest.mark.parametrize("is_in_flight", [False, True])
async def test_nothing_is_kept_of_a_model_that_is_forgotten(
    *, is_in_flight: bool, torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    await torchserve.workers(card)
    await torchserve.predict(card, BLACK, deadline=in_five_seconds(), request_id="r")
    assert entries(torchserve, card.name)
    if is_in_flight:
        fake.behaviour = "slow"
        late = asyncio.create_task(torchserve.predict(card, BLACK, deadline=in_five_seconds(), request_id="late"))
        await until(lambda: fake.waiting == 1, 30)

    await torchserve.forget(card)

    assert entries(torchserve, card.name) == []
    if is_in_flight:
        with pytest.raises(asyncio.CancelledError):
            await late
