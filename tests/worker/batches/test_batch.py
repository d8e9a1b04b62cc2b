"""How a failed batch is split and run again."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from service.engines import Images
from service.engines.cuda.device import Cpu
from service.engines.cuda.engine import CudaEngine
from service.tasks.classification.head import probabilities
from service.tasks.torch_head import BatchArrays
from service.worker.batches import batch
from service.worker.batches.batch import BatchedOutput
from tests.worker.requests import flat

POISON = 13


class FakeEngine:
    """An engine that returns the grey level of each image, after `check`. `passes` has the size of each pass."""

    def __init__(self, check: Callable[[Images], None] = lambda _: None) -> None:
        self.passes: list[int] = []
        self._check = check

    def __call__(self, images: Images) -> BatchArrays:
        self.passes.append(len(images))
        self._check(images)
        return {"scores": images[:, 0, 0, :1].astype(np.float32)}


def fail_on_poison(images: Images) -> None:
    if (images == POISON).any():
        raise RuntimeError("a weight went astray")


def fail_beyond(size: int, error: Exception) -> Callable[[Images], None]:
    def check(images: Images) -> None:
        if len(images) > size:
            raise error

    return check


def scores_of(outcomes: list[BatchedOutput | Exception]) -> list[float | None]:
    return [float(each.arrays["scores"][0]) if isinstance(each, BatchedOutput) else None for each in outcomes]


def test_a_batch_is_one_forward_pass() -> None:
    engine = FakeEngine()
    outcomes = batch.run(engine, np.stack([flat(grey) for grey in range(5)]))
    assert engine.passes == [5]
    assert scores_of(outcomes) == [0, 1, 2, 3, 4]
    assert all(isinstance(each, BatchedOutput) and each.batch == 5 and each.inference_ms > 0 for each in outcomes)


def test_one_bad_picture_costs_its_neighbours_nothing_but_time() -> None:
    engine = FakeEngine(fail_on_poison)
    outcomes = batch.run(engine, np.stack([flat(1), flat(2), flat(POISON), flat(4)]))
    assert scores_of(outcomes) == [1, 2, None, 4]
    assert isinstance(outcomes[2], RuntimeError)
    assert engine.passes == [4, 1, 1, 1, 1]


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_a_lack_of_memory_halves_the_batch_until_it_fits(error: Exception) -> None:
    engine = FakeEngine(fail_beyond(2, error))
    outcomes = batch.run(engine, np.stack([flat(grey) for grey in range(8)]))
    assert scores_of(outcomes) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert engine.passes == [8, 4, 2, 2, 4, 2, 2]
    assert {each.batch for each in outcomes if isinstance(each, BatchedOutput)} == {2}
    assert all(isinstance(each, BatchedOutput) and each.is_halved for each in outcomes)


def test_what_fails_otherwise_is_not_told_to_lack_memory() -> None:
    outcomes = batch.run(FakeEngine(fail_on_poison), np.stack([flat(1), flat(POISON), flat(3)]))
    assert [isinstance(each, BatchedOutput) and each.is_halved for each in outcomes] == [False, False, False]


def test_a_cuda_engine_tells_of_each_batch_that_is_larger_than_its_memory_allows() -> None:
    room = 3

    def network(images: Tensor) -> Tensor:
        if len(images) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images.float().mean(dim=(1, 2)) / 255

    engine = CudaEngine("a model", network, probabilities, Cpu(), 8)
    pictures = np.stack([flat(grey, side=4) for grey in range(8)])
    halved = [[each.is_halved for each in computed(engine, pictures[:count])] for count in (3, 8, 2, 8)]

    assert [set(each) for each in halved] == [{False}, {True}, {False}, {True}]
    assert [len(each) for each in halved] == [3, 8, 2, 8]


def computed(engine: CudaEngine, pictures: Images) -> list[BatchedOutput]:
    return [each for each in batch.run(engine, pictures) if isinstance(each, BatchedOutput)]


def test_a_single_picture_without_room_fails_alone() -> None:
    outcomes = batch.run(FakeEngine(fail_beyond(0, MemoryError())), np.stack([flat(1)]))
    assert [type(each) for each in outcomes] == [MemoryError]


def test_a_lost_device_ends_the_worker() -> None:
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(SystemExit) as caught:
        batch.run(FakeEngine(fail_beyond(0, error)), np.stack([flat(1)]))
    assert caught.value.code == 1
    assert caught.value.__cause__ is error
