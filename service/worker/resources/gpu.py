"""Read the state of this host's GPUs by NVML, NVIDIA's management library.

The package nvidia-ml-py has its module `pynvml`. Only devices that this process may use are visible. Nothing is
reported without a GPU, its driver or the package.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

Value = TypeVar("Value")

# The reasons why clocks are lowered, with their bits (nvml.h, nvmlClocksEventReasons). Idle GPUs and clocks that an
# administrator has set are left out. `power_cap` is usual under full load.
THROTTLE_REASONS = {
    "power_cap": 0x04,
    "hardware_slowdown": 0x08,
    "software_thermal": 0x20,
    "hardware_thermal": 0x40,
    "power_brake": 0x80,
}


@dataclass(frozen=True)
class GpuState:
    """The state of a GPU, or of a slice of one (MIG). A value is None where the device does not report it.

    `uuid` is `index-N` for a GPU that was lost before this process started, with N its index from 0.
    `utilization` is the share of the last second, or less, in which a kernel ran: 0 to 1. Memory is in bytes.
    `throttled` says for each of `THROTTLE_REASONS` whether it lowers the clocks. `is_readable` is False after an error.
    """

    uuid: str
    is_readable: bool = True
    utilization: float | None = None
    memory_used: int | None = None
    memory_limit: int | None = None
    throttled: dict[str, bool] | None = None


@dataclass(frozen=True)
class _Device:
    """A device, and the GPU of which it is a slice, or itself. A GPU that was lost before has no handle: None."""

    uuid: str
    handle: Any
    parent: Any


class Gpus:
    """The GPUs that this process may use. `nvml` is the module `pynvml`, initialized."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._absent = {
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_NO_PERMISSION,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,  # by an older driver
        }
        self._devices = list(self._find())

    def states(self) -> list[GpuState]:
        """Return the state of each device now."""
        return [self._state(device) for device in self._devices]

    def _find(self) -> Iterator[_Device]:
        for index in range(self._nvml.nvmlDeviceGetCount()):
            try:
                yield from self._devices_at(index)
            except self._nvml.NVMLError as error:
                if error.value != self._nvml.NVML_ERROR_NO_PERMISSION:  # the count includes GPUs of other containers
                    yield _Device(f"index-{index}", None, None)  # a lost GPU does not say its UUID

    def _devices_at(self, index: int) -> list[_Device]:
        """Return the GPU with that index, or its slices. Raises `NVMLError`."""
        gpu = self._nvml.nvmlDeviceGetHandleByIndex(index)
        slices = list(self._slices(gpu)) or [gpu]
        return [_Device(self._nvml.nvmlDeviceGetUUID(each), each, gpu) for each in slices]

    def _slices(self, gpu: Any) -> Iterator[Any]:
        """Yield the slices of a GPU, none if it is not divided."""
        mode = self._supported(lambda: self._nvml.nvmlDeviceGetMigMode(gpu))
        if mode is None or mode[0] != self._nvml.NVML_DEVICE_MIG_ENABLE:
            return
        for index in range(self._nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
            try:
                yield self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
            except self._nvml.NVMLError as error:
                if error.value != self._nvml.NVML_ERROR_NOT_FOUND:
                    raise

    def _state(self, device: _Device) -> GpuState:
        nvml = self._nvml
        if device.handle is None:
            return GpuState(device.uuid, is_readable=False)
        try:
            utilization = self._supported(lambda: nvml.nvmlDeviceGetUtilizationRates(device.handle))
            memory = self._supported(lambda: nvml.nvmlDeviceGetMemoryInfo(device.handle))
            reasons = self._supported(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(device.parent))
        except nvml.NVMLError:  # the GPU has fallen off the bus, or its driver has failed
            return GpuState(device.uuid, is_readable=False)
        return GpuState(
            device.uuid,
            utilization=None if utilization is None else utilization.gpu / 100,
            memory_used=None if memory is None else memory.used,
            memory_limit=None if memory is None else memory.total,
            throttled=None
            if reasons is None
            else {name: bool(reasons & bit) for name, bit in THROTTLE_REASONS.items()},
        )

    def _supported(self, ask: Callable[[], Value]) -> Value | None:
        """Return what NVML answers, None if the device does not report it. Raises `NVMLError`."""
        try:
            return ask()
        except self._nvml.NVMLError as error:
            if error.value in self._absent:
                return None
            raise


def find(import_module: Callable[[str], Any] = importlib.import_module) -> Gpus | None:
    """Return the GPUs of this process; None without a GPU, its driver or the package nvidia-ml-py."""
    try:
        nvml = import_module("pynvml")
    except ModuleNotFoundError:
        return None
    try:
        nvml.nvmlInit()
        gpus = Gpus(nvml)
    except nvml.NVMLError:
        return None
    return gpus if gpus.states() else None
