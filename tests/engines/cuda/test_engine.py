"""The CUDA engine: which passes it runs for a batch, and what it does if memory or recording fails."""

import gc
import logging
import time
from pathlib import Path
from typing import ClassVar
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from service.engines import torch_cpu
from service.engines.cuda import engine as cuda_engine
from service.engines.cuda.device import Cpu, Cuda, Run, Shape
from service.engines.cuda.engine import MAX_RECORDED_SHAPES, RECORD_AFTER, CudaEngine
from service.models import cards
from service.models.cards import CardError
from service.networks.segmentation import Segmenter
from service.tasks.classification.head import probabilities
from service.tasks.torch_head import BatchArrays, Outputs
from tests.stores import serving

Pixels = npt.NDArray[np.uint8]

SIZE = (4, 4)
MODELS = [("tiny-classifier", 4), ("tiny-classifier", 8), ("tiny-segmenter", 4)]


class Network:
    """Logits that are the mean colours. It has memory for `room` images. A pass takes at least `pass_s` seconds."""

    def __init__(self, room: int = 99, pass_s: float = 0) -> None:
        self.room = room
        self.pass_s = pass_s
        self.passes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.passes.append(len(images))
        time.sleep(self.pass_s)
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images.float().mean(dim=(1, 2)) / 255


class Unrecordable(Cpu):
    """A device that cannot record."""

    def record(self, run: Run, shape: Shape) -> Run:
        raise RuntimeError(f"operation not permitted when stream is capturing: {run} {shape}")


def colours(count: int, size: tuple[int, int] = SIZE) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def scores(images: Pixels) -> npt.NDArray[np.float32]:
    powers: npt.NDArray[np.float32] = np.exp(images.astype(np.float32).mean(axis=(1, 2)) / 255)
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def engine(network: Run, largest: int = 8, device: Cpu | None = None) -> CudaEngine:
    return CudaEngine("a model", network, probabilities, device or Cpu(), largest)


@pytest.mark.parametrize("count", range(1, 20))
def test_every_count_of_pictures_is_answered_in_its_order(count: int) -> None:
    made = engine(Network())
    made.prepare(SIZE)
    np.testing.assert_allclose(made(colours(count))["scores"], scores(colours(count)), rtol=1e-5)


def test_only_recorded_sizes_run_once_a_shape_is_ready() -> None:
    network = Network()
    made = engine(network)
    assert sorted(made.prepare(SIZE)) == [1, 2, 4, 8]
    network.passes.clear()
    for count in range(1, 20):
        made(colours(count))
    assert set(network.passes) <= {1, 2, 4, 8}


def test_a_shape_that_is_not_ready_runs_in_passes_of_at_most_the_largest_size() -> None:
    network = Network()
    made = engine(network)
    np.testing.assert_allclose(made(colours(19))["scores"], scores(colours(19)), rtol=1e-5)
    assert network.passes == [8, 8, 3]


def test_a_shape_that_comes_often_is_made_ready() -> None:
    network = Network()
    made = engine(network)
    for _ in range(RECORD_AFTER - 1):
        made(colours(3))
    assert network.passes == [3] * (RECORD_AFTER - 1)
    network.passes.clear()
    made(colours(3))
    np.testing.assert_allclose(made(colours(3))["scores"], scores(colours(3)), rtol=1e-5)
    assert set(network.passes) == {1, 2, 4, 8}


def test_a_caller_whose_shape_is_made_ready_waits_for_few_passes() -> None:
    network = Network()
    made = engine(network)
    for _ in range(RECORD_AFTER):
        made(colours(3))
    assert network.passes.count(8) <= 4  # recorded, warmed up, timed once, and perhaps chosen for the three images


def test_shapes_beyond_a_number_are_run_plain() -> None:
    network = Network()
    made = engine(network)
    for side in range(1, MAX_RECORDED_SHAPES + 1):
        made.prepare((side, 1))
    network.passes.clear()
    for _ in range(RECORD_AFTER + 1):
        made(colours(3, (2, 2)))
    assert network.passes == [3] * (RECORD_AFTER + 1)


def test_a_size_without_memory_is_found_before_the_first_request(caplog: pytest.LogCaptureFixture) -> None:
    network = Network(room=4)
    made = engine(network, 16)
    assert sorted(made.prepare(SIZE)) == [1, 2, 4]
    network.passes.clear()
    np.testing.assert_allclose(made(colours(16))["scores"], scores(colours(16)), rtol=1e-5)
    assert max(network.passes) == 4
    assert "a model: no memory for 8 images of 4x4; at most 4 from now on" in caplog.text


@pytest.mark.parametrize("ready", [True, False])
def test_where_memory_runs_out_the_batch_goes_on_in_halves_and_no_later_one_is_as_large(*, ready: bool) -> None:
    network = Network(pass_s=0.02)
    made = engine(network)
    if ready:
        made.prepare(SIZE)
    network.room = 3
    network.passes.clear()
    np.testing.assert_allclose(made(colours(8))["scores"], scores(colours(8)), rtol=1e-5)
    assert network.passes[:3] == [8, 4, 2]
    assert max(network.passes[3:]) <= 2
    network.passes.clear()
    network.room = 99
    made(colours(8))
    assert max(network.passes) <= 2


def test_memory_is_a_matter_of_pixels_so_that_larger_pictures_are_fewer() -> None:
    network = Network(room=4)
    made = engine(network)
    made(colours(8))
    network.passes.clear()
    made(colours(8, (8, 4)))
    assert network.passes == [2, 2, 2, 2]


def test_a_single_picture_without_memory_is_the_callers_to_know() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        engine(Network(room=0))(colours(4))


def test_what_fails_otherwise_is_not_tried_again() -> None:
    passes = []

    def failing(images: Tensor) -> Tensor:
        passes.append(len(images))
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        engine(failing)(colours(4))
    assert passes == [4]


def test_where_nothing_can_be_recorded_passes_are_plain_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    network = Network()
    made = engine(network, device=Unrecordable())
    made.prepare(SIZE)
    network.passes.clear()
    for _ in range(RECORD_AFTER + 1):
        np.testing.assert_allclose(made(colours(5))["scores"], scores(colours(5)), rtol=1e-5)
    assert network.passes == [5] * (RECORD_AFTER + 1)
    sentence = "CUDA graphs cannot be recorded, so small batches are slower: operation not permitted"
    assert caplog.text.count(sentence) == 1


@pytest.mark.parametrize(("name", "largest"), [*MODELS, pytest.param("tiny-segmenter", 8, marks=pytest.mark.stress)])
def test_a_cards_network_answers_as_pytorch_does(store: Path, images: Pixels, name: str, largest: int) -> None:
    card = serving(cards.read(store / name), precision="fp32", batch_size=largest)
    ours = cuda_engine.load(card, "cpu", lambda _: Cpu())(images)
    theirs = torch_cpu.load(card, "cpu")(images)
    assert ours.keys() == theirs.keys()
    for array in ours:
        assert ours[array].dtype == theirs[array].dtype
        np.testing.assert_allclose(ours[array], theirs[array], atol=1e-4)


def test_the_log_has_the_precision_the_form_and_the_layout_that_were_chosen_and_by_what(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    card = serving(cards.read(store / "tiny-classifier"), precision="fp32", batch_size=2)
    cuda_engine.load(card, "cpu", lambda _: Cpu())
    (record,) = caplog.records
    head, _, measured = record.getMessage().partition(": 2 images take ")
    times = {
        name: float(each)
        for each in measured.split("; ")
        for name, _, each in [each.removesuffix(" ms").rpartition(" ")]
    }
    assert head == f"tiny-classifier: torch.float32 on the CPU, {min(times, key=lambda name: times[name])}"
    assert set(times) == {f"{form}, channels {each}" for form in ("reference", "splits") for each in ("first", "last")}


class Narrow(Cpu):
    """A device with memory for only one image at a time while it holds two networks."""

    networks: ClassVar[WeakSet[Run]] = WeakSet()

    def record(self, run: Run, shape: Shape) -> Run:
        self.networks.add(run)
        return super().record(run, shape)

    def to_arrays(self, outputs: Outputs) -> BatchArrays:
        if len(self.networks) > 1 and len(next(iter(outputs.values()))) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().to_arrays(outputs)


def test_a_form_or_layout_that_is_not_chosen_takes_no_memory_from_the_others(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    card = serving(cards.read(store / "tiny-classifier"), precision="fp32", batch_size=4)
    made = cuda_engine.load(card, "cpu", lambda _: Narrow())
    assert "4 images take" in caplog.text
    assert "no memory" not in caplog.text
    assert len(Narrow.networks) == 1
    del made


def test_one_copy_of_the_network_stays_once_it_is_loaded(store: Path) -> None:
    card = cards.read(store / "tiny-segmenter")

    def networks() -> int:
        gc.collect()
        return sum(issubclass(type(each), Segmenter) for each in gc.get_objects())

    before = networks()
    made = cuda_engine.load(serving(card, precision="fp32", batch_size=1), "cpu", lambda _: Cpu())
    assert networks() == before + 1
    del made


@pytest.mark.parametrize(("precision", "exact"), [("fp32", True), ("bf16", False), ("auto", False)])
def test_a_card_tells_the_precision_or_leaves_it_to_the_device(
    store: Path, images: Pixels, precision: str, *, exact: bool
) -> None:
    card = cards.read(store / "tiny-classifier")
    ours = cuda_engine.load(serving(card, precision=precision, batch_size=1), "cpu", lambda _: Cpu())(images)["scores"]
    theirs = torch_cpu.load(serving(card, precision="fp32"), "cpu")(images)["scores"]
    assert bool(np.abs(ours - theirs).max() < 1e-5) is exact
    assert np.abs(ours - theirs).mean() < 2e-2  # with random weights; see test_agreement.py for trained ones


def test_int8_is_refused(store: Path) -> None:
    with pytest.raises(CardError, match="int8 runs with OpenVINO on a CPU only"):
        cuda_engine.load(serving(cards.read(store / "tiny-classifier"), precision="int8"), "cpu", lambda _: Cpu())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["tiny-classifier", "tiny-segmenter"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 2e-2), ("auto", 2e-2)])
def test_cuda_answers_as_the_cpu_does(store: Path, images: Pixels, name: str, precision: str, tolerance: float) -> None:
    card = cards.read(store / name)
    made = cuda_engine.load(serving(card, precision=precision, batch_size=4), "cuda")
    theirs = torch_cpu.load(serving(card, precision="fp32"), "cpu")(images)
    for count in (1, 3, 6):
        ours = made(images[:count])
        for array in set(ours) - {"mask"}:
            assert np.abs(ours[array] - theirs[array][:count]).mean() < tolerance


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("ready", [True, False])
def test_on_cuda_the_allocators_own_error_halves_the_batch(*, ready: bool) -> None:
    def greedy(images: Tensor) -> Tensor:
        if len(images) > 2:
            torch.empty(1 << 50, dtype=torch.uint8, device=images.device)
        return images.float().mean(dim=(1, 2)) / 255

    made = CudaEngine("a model", greedy, probabilities, Cuda("cuda"), 8)
    if ready:
        assert sorted(made.prepare(SIZE)) == [1, 2]
    np.testing.assert_allclose(made(colours(8))["scores"], scores(colours(8)), rtol=1e-5)
