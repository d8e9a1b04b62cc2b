"""The functions and numbers of `pynvml` that the service uses, over GPUs that exist only here."""

from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """An error of the library, with its code."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class FakeNvml:
    """One GPU, until `count` or `slices` say otherwise. `failing` has the code with which each function fails.

    `lost` has the code with which the GPU of an index refuses its handle.
    """

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_NOT_FOUND = 6
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_FUNCTION_NOT_FOUND = 13
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self) -> None:
        self.count = 1
        self.slices = 0
        self.reasons = 0
        self.failing: dict[str, int] = {}
        self.lost: dict[int, int] = {}
        self.is_initialized = False

    def _called(self, name: str) -> None:
        if name in self.failing:
            raise NVMLError(self.failing[name])

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names
        self._called("nvmlInit")
        self.is_initialized = True

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        if index in self.lost:
            raise NVMLError(self.lost[index])
        return f"GPU-{index}"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        self._called("nvmlDeviceGetUUID")
        return handle

    def nvmlDeviceGetMigMode(self, _handle: str) -> list[int]:  # noqa: N802
        self._called("nvmlDeviceGetMigMode")
        if not self.slices:
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return [self.NVML_DEVICE_MIG_ENABLE] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, _handle: str) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:  # noqa: N802
        if index >= self.slices:
            raise NVMLError(self.NVML_ERROR_NOT_FOUND)
        return f"MIG-{handle.removeprefix('GPU-')}-{index}"

    def nvmlDeviceGetUtilizationRates(self, _handle: str) -> Any:  # noqa: N802
        self._called("nvmlDeviceGetUtilizationRates")
        return SimpleNamespace(gpu=25, memory=10)

    def nvmlDeviceGetMemoryInfo(self, _handle: str) -> Any:  # noqa: N802
        self._called("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(total=80 << 30, used=3 << 30, free=77 << 30)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802
        assert handle.startswith("GPU-"), "a slice has no clocks of its own"
        self._called("nvmlDeviceGetCurrentClocksEventReasons")
        return self.reasons
