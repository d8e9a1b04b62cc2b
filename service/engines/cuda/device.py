"""The device on which the CUDA engine runs, and a CPU with the same interface for its tests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.tasks.torch_head import BatchArrays, Outputs, to_arrays

Run = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int, int]  # images, height, width, channels

WARMUP_PASSES = 2  # passes before a recording, in which libraries allocate their workspaces


class Device(Protocol):
    """Where a network runs. Every method except `stage` must be called within `active`."""

    torch_device: torch.device
    fastest_dtype: torch.dtype  # without a relevant change of results

    @property
    def name(self) -> str:
        """Return the name of the device."""

    def active(self) -> Any:
        """Return the context in which every pass runs."""

    def stage(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Return a copy of the images in host memory that the device can read directly."""

    def record(self, run: Run, shape: Shape) -> Run:
        """Return a recording of `run` for up to `shape[0]` staged images.

        An output of the recording is overwritten by its next run. Raises `RuntimeError` if `run` cannot be recorded.
        """

    def to_arrays(self, outputs: Outputs) -> BatchArrays:
        """Wait for the device, and return the outputs as arrays on the host."""

    def release_memory(self) -> None:
        """Free cached memory that no tensor uses."""


class Cuda:
    """A CUDA device with its own stream, on which copies and passes run in order while the host does not wait."""

    def __init__(self, name: str) -> None:
        self.torch_device = torch.device(name)
        major, _ = torch.cuda.get_device_capability(self.torch_device)
        self.fastest_dtype = dtype_for_capability(major)
        self._stream = torch.cuda.Stream(self.torch_device)
        self._memory = torch.cuda.graph_pool_handle()

    @property
    def name(self) -> str:
        """Return the name that the driver gives the device."""
        return torch.cuda.get_device_name(self.torch_device)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Run on this device and its stream, in inference mode and without TF32."""
        with (
            torch.inference_mode(),
            torch.cuda.device(self.torch_device),
            torch.cuda.stream(self._stream),
            without_tf32(),
        ):
            yield

    def stage(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Return a copy in pinned memory, which PyTorch caches and reuses."""
        staged = torch.empty(images.shape, dtype=torch.uint8, pin_memory=True)
        np.copyto(staged.numpy(), images)
        return staged

    def record(self, run: Run, shape: Shape) -> Run:
        """Record a CUDA graph. All graphs share one memory pool, because only one runs at a time."""
        static_input = torch.zeros(shape, dtype=torch.uint8, device=self.torch_device)
        for _ in range(WARMUP_PASSES):
            run(static_input)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate meanwhile. The stream is that of the warm-up, because libraries cache per stream.
        with torch.cuda.graph(graph, pool=self._memory, stream=self._stream, capture_error_mode="thread_local"):
            static_output = run(static_input)

        def replay(images: Tensor) -> Tensor:
            static_input[: len(images)].copy_(images, non_blocking=True)
            graph.replay()
            return static_output[: len(images)]

        return replay

    def to_arrays(self, outputs: Outputs) -> BatchArrays:
        """Copy through pinned memory and then out of it, so that a caller that keeps outputs does not hold it."""
        staged = {name: _stage_outputs(value) for name, value in outputs.items()}
        self._stream.synchronize()
        return {name: _copy_to_arrays(value) for name, value in staged.items()}

    def release_memory(self) -> None:
        """Return cached memory to the driver, so that recordings and other processes can use it."""
        torch.cuda.empty_cache()


class Cpu:
    """The same interface on the CPU, for tests. A recording always computes its full batch size, so it is slow."""

    torch_device = torch.device("cpu")
    fastest_dtype = torch.bfloat16  # as on CUDA
    name = "the CPU"

    @contextmanager
    def active(self) -> Iterator[None]:
        """Run in inference mode."""
        with torch.inference_mode():
            yield

    def stage(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Return a copy in ordinary memory."""
        return torch.tensor(images)

    def record(self, run: Run, shape: Shape) -> Run:
        """Return a function that runs the full batch size. Raises what `run` raises at this shape."""
        static_input = torch.zeros(shape, dtype=torch.uint8)
        run(static_input)

        def replay(images: Tensor) -> Tensor:
            static_input[: len(images)].copy_(images)
            return run(static_input)[: len(images)]

        return replay

    def to_arrays(self, outputs: Outputs) -> BatchArrays:
        """Return the outputs as arrays, without a copy."""
        return to_arrays(outputs)

    def release_memory(self) -> None:
        """Do nothing."""


def _stage_outputs(value: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    """Return copies in pinned memory, which are complete once the stream is synchronised."""
    if isinstance(value, Tensor):
        return torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
    return [torch.empty(each.shape, dtype=each.dtype, pin_memory=True).copy_(each, non_blocking=True) for each in value]


def _copy_to_arrays(staged: Tensor | list[Tensor]) -> Any:
    return staged.numpy().copy() if isinstance(staged, Tensor) else [each.numpy().copy() for each in staged]


def without_tf32() -> AbstractContextManager[None]:
    """Return a context in which CUDA convolves in full float32. The default rounds to TF32 with a 10-bit mantissa."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return flags


def dtype_for_capability(major: int) -> torch.dtype:
    """Return the fastest type of a compute capability: tensor cores have float16 from 7 (Volta), bfloat16 from 8."""
    return torch.bfloat16 if major >= 8 else torch.float16 if major >= 7 else torch.float32
