"""The state of GPUs by NVML. The library's functions are faked here: no test machine has a GPU."""

from typing import Any

import pytest

from service.worker.resources import gpu
from service.worker.resources.gpu import Gpus, GpuState
from tests.worker.resources.fake_pynvml import FakeNvml

READINGS = ("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetCurrentClocksEventReasons")


@pytest.fixture
def nvml() -> FakeNvml:
    return FakeNvml()


def test_the_state_is_what_nvml_says(nvml: FakeNvml) -> None:
    nvml.reasons = 0x04 | 0x40 | 0x100  # 0x100: of a display

    (state,) = Gpus(nvml).states()

    assert state == GpuState(
        "GPU-0",
        utilization=0.25,
        memory_used=3 << 30,
        memory_limit=80 << 30,
        throttled={
            "power_cap": True,
            "hardware_slowdown": False,
            "software_thermal": False,
            "hardware_thermal": True,
            "power_brake": False,
        },
    )


def test_every_gpu_has_its_state(nvml: FakeNvml) -> None:
    nvml.count = 3

    assert [each.uuid for each in Gpus(nvml).states()] == ["GPU-0", "GPU-1", "GPU-2"]


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(
    "code", ["NVML_ERROR_NOT_SUPPORTED", "NVML_ERROR_NO_PERMISSION", "NVML_ERROR_FUNCTION_NOT_FOUND"]
)
def test_what_a_device_does_not_report_is_unknown_and_the_rest_is_known(
    reading: str, code: str, nvml: FakeNvml
) -> None:
    nvml.failing[reading] = getattr(nvml, code)

    (state,) = Gpus(nvml).states()
    values = (state.utilization, state.memory_used, state.throttled)

    assert state.is_readable
    assert [value is None for value in values] == [name == reading for name in READINGS]


@pytest.mark.parametrize("reading", READINGS)
def test_a_gpu_that_is_lost_is_not_readable_and_has_no_values(reading: str, nvml: FakeNvml) -> None:
    gpus = Gpus(nvml)
    nvml.failing[reading] = nvml.NVML_ERROR_GPU_IS_LOST

    assert gpus.states() == [GpuState("GPU-0", is_readable=False)]


def test_the_slices_of_a_divided_gpu_are_devices_of_their_own(nvml: FakeNvml) -> None:
    nvml.slices = 2
    nvml.failing["nvmlDeviceGetUtilizationRates"] = nvml.NVML_ERROR_NOT_SUPPORTED

    states = Gpus(nvml).states()

    assert [each.uuid for each in states] == ["MIG-0-0", "MIG-0-1"]
    assert {each.utilization for each in states} == {None}
    assert all(each.throttled for each in states), "of the GPU that is divided"


def test_the_gpus_of_this_process_are_found(nvml: FakeNvml) -> None:
    found = gpu.find(lambda _name: nvml)

    assert found is not None
    assert nvml.is_initialized


@pytest.mark.parametrize("lost", [[1], [0, 1, 2]])
def test_a_gpu_that_is_lost_at_the_start_is_not_readable_and_the_others_are_known(
    lost: list[int], nvml: FakeNvml
) -> None:
    nvml.count = 3
    nvml.lost = dict.fromkeys(lost, nvml.NVML_ERROR_GPU_IS_LOST)

    found = gpu.find(lambda _name: nvml)

    assert found is not None
    states = found.states()
    assert [each.is_readable for each in states] == [index not in lost for index in range(3)]
    assert [each.uuid for each in states] == [f"{'index' if index in lost else 'GPU'}-{index}" for index in range(3)]


@pytest.mark.parametrize("reading", ["nvmlDeviceGetMigMode", "nvmlDeviceGetUUID"])
def test_a_gpu_that_is_lost_while_it_is_searched_for_is_not_readable(reading: str, nvml: FakeNvml) -> None:
    nvml.failing[reading] = nvml.NVML_ERROR_GPU_IS_LOST

    assert Gpus(nvml).states() == [GpuState("index-0", is_readable=False)]


def test_a_gpu_of_another_container_is_none_of_this_process(nvml: FakeNvml) -> None:
    nvml.count = 2
    nvml.lost[0] = nvml.NVML_ERROR_NO_PERMISSION

    assert [each.uuid for each in Gpus(nvml).states()] == ["GPU-1"]


def missing(_name: str) -> Any:
    raise ModuleNotFoundError(name="pynvml")


def without_driver(_name: str) -> FakeNvml:
    nvml = FakeNvml()
    nvml.failing["nvmlInit"] = nvml.NVML_ERROR_LIBRARY_NOT_FOUND
    return nvml


def without_device(_name: str) -> FakeNvml:
    nvml = FakeNvml()
    nvml.count = 0
    return nvml


@pytest.mark.parametrize("importing", [missing, without_driver, without_device])
def test_without_the_package_the_driver_or_a_gpu_there_is_none(importing: Any) -> None:
    assert gpu.find(importing) is None


def test_the_names_and_numbers_of_the_fake_are_those_of_the_package() -> None:
    """Skipped where nvidia-ml-py is not installed."""
    pynvml = pytest.importorskip("pynvml")
    fake = FakeNvml()
    numbers = {name: value for name, value in vars(FakeNvml).items() if name.startswith("NVML_")}

    assert {name: getattr(pynvml, name) for name in numbers} == numbers
    assert all(callable(getattr(pynvml, name)) for name in dir(fake) if name.startswith("nvml"))
    assert issubclass(pynvml.NVMLError, Exception)
    assert pynvml.NVMLError(fake.NVML_ERROR_GPU_IS_LOST).value == fake.NVML_ERROR_GPU_IS_LOST
    bits = {name: getattr(pynvml, constant) for name, constant in CONSTANTS.items()}
    assert bits == gpu.THROTTLE_REASONS


CONSTANTS = {
    "power_cap": "nvmlClocksEventReasonSwPowerCap",
    "hardware_slowdown": "nvmlClocksThrottleReasonHwSlowdown",
    "software_thermal": "nvmlClocksEventReasonSwThermalSlowdown",
    "hardware_thermal": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "power_brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}
