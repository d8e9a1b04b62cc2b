"""The behaviour of each device on which the CUDA engine relies."""

import numpy as np
import pytest
import torch
from torch import Tensor

from service.engines.cuda import device as devices
from service.engines.cuda.device import Cpu, Cuda, Device

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SHAPE = (4, 6, 5, 3)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_cuda])])
def device(request: pytest.FixtureRequest) -> Device:
    return Cuda("cuda") if request.param == "cuda" else Cpu()


def mean(images: Tensor) -> Tensor:
    return images.float().mean(dim=(1, 2))


def some(count: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE[1:]), dtype=np.uint8)


def test_a_recorded_pass_answers_as_the_plain_one_for_as_many_pictures_as_it_is_given(device: Device) -> None:
    with device.active():
        recorded = device.record(mean, SHAPE)
        for count in (4, 1, 3):
            images = some(count, seed=count)
            found = device.to_arrays({"means": recorded(device.stage(images))})["means"]
            np.testing.assert_allclose(found, images.mean(axis=(1, 2)), rtol=1e-5)


def test_answers_stay_as_they_are_when_the_recorded_pass_runs_again(device: Device) -> None:
    with device.active():
        recorded = device.record(mean, SHAPE)
        first = device.to_arrays({"means": recorded(device.stage(some(4))).softmax(dim=1)})["means"]
        before = first.copy()
        device.to_arrays({"means": recorded(device.stage(some(4, seed=1)))})
    np.testing.assert_array_equal(first, before)


def test_recordings_of_several_sizes_live_beside_each_other(device: Device) -> None:
    with device.active():
        recorded = {count: device.record(mean, (count, *SHAPE[1:])) for count in (4, 2, 1)}
        for count in (1, 4, 2):
            found = device.to_arrays({"means": recorded[count](device.stage(some(count)))})["means"]
            np.testing.assert_allclose(found, some(count).mean(axis=(1, 2)), rtol=1e-5)


def test_pictures_are_copied_and_need_not_lie_in_one_piece(device: Device) -> None:
    images = some(4)[:, ::2]
    images.flags.writeable = False
    staged = device.stage(images)
    np.testing.assert_array_equal(staged.numpy(), images)
    assert not np.shares_memory(staged.numpy(), images)


def test_what_cannot_be_recorded_is_a_runtime_error_and_the_device_goes_on(device: Device) -> None:
    """CUDA cannot record an operation that waits for the device."""

    def waiting(images: Tensor) -> Tensor:
        if images.is_cuda and not torch.cuda.is_current_stream_capturing():
            return mean(images)
        raise RuntimeError(f"{images.sum().item()} cannot be known yet")

    with device.active():
        with pytest.raises(RuntimeError):
            device.record(waiting, SHAPE)
        recorded = device.record(mean, SHAPE)
        found = device.to_arrays({"means": recorded(device.stage(some(4)))})["means"]
    np.testing.assert_allclose(found, some(4).mean(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("major", "dtype"), [(6, torch.float32), (7, torch.float16), (8, torch.bfloat16), (9, torch.bfloat16)]
)
def test_the_precision_is_what_the_card_has_tensor_cores_for(major: int, dtype: torch.dtype) -> None:
    assert devices.dtype_for_capability(major) == dtype


@pytest.mark.gpu
@needs_cuda
def test_on_cuda_pictures_wait_in_pinned_memory() -> None:
    assert Cuda("cuda").stage(some(2)).is_pinned()


@pytest.mark.gpu
@needs_cuda
def test_single_precision_on_cuda_is_not_rounded_to_tf32() -> None:
    device = Cuda("cuda")
    inputs, weights = torch.randn(2, 64, 16, 16), torch.randn(64, 64, 3, 3)
    exact = torch.nn.functional.conv2d(inputs.double(), weights.double())
    with device.active():
        found = torch.nn.functional.conv2d(inputs.to(device.torch_device), weights.to(device.torch_device)).cpu()
    assert (found - exact).abs().max() < 1e-3  # with TF32 about 2e-2
