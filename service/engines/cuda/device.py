"""What the engine of buckets asks of a device, as CUDA does it and, to test that engine by, as a CPU does."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]
Arrays = dict[str, npt.NDArray[Any]]
Shape = tuple[int, int, int, int]  # pictures, height, width, channels

REHEARSALS = 2  # passes before one is recorded, in which libraries make and keep what they need


class Device(Protocol):
    """Where a network runs. All but `host` is called within `working`."""

    where: torch.device
    fastest: torch.dtype  # of those that change no answer that matters

    @property
    def name(self) -> str:
        """The device's own name."""

    def working(self) -> Any:
        """The context of every pass."""

    def host(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """A copy of the pictures in memory that the device reads by itself."""

    def record(self, run: Run, shape: Shape) -> Run:
        """`run` for up to `shape[0]` pictures on the host, recorded once. What it answers holds until the next one.

        Raises `RuntimeError` where it cannot be recorded.
        """

    def arrays(self, outputs: dict[str, Tensor]) -> Arrays:
        """The answers on the host, once all that was begun is over."""

    def release(self) -> None:
        """Give memory back that no tensor uses."""


class Cuda:
    """A CUDA device, and a stream of its own on which copies and passes follow each other without the host waiting."""

    def __init__(self, where: str) -> None:
        self.where = torch.device(where)
        major, _ = torch.cuda.get_device_capability(self.where)
        self.fastest = by_capability(major)
        self._stream = torch.cuda.Stream(self.where)
        self._memory = torch.cuda.graph_pool_handle()

    @property
    def name(self) -> str:
        """As the driver has it."""
        return torch.cuda.get_device_name(self.where)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Nothing but what happens there, on the stream of its own."""
        with (
            torch.inference_mode(),
            torch.cuda.device(self.where),
            torch.cuda.stream(self._stream),
            single_precision(),
        ):
            yield

    def host(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """Pinned; PyTorch keeps pinned memory that was given back, and hands it out again."""
        staged = torch.empty(pictures.shape, dtype=torch.uint8, pin_memory=True)
        np.copyto(staged.numpy(), pictures)
        return staged

    def record(self, run: Run, shape: Shape) -> Run:
        """A CUDA graph, whose kernels are launched as one; all graphs share their memory, since one runs at a time."""
        given = torch.zeros(shape, dtype=torch.uint8, device=self.where)
        for _ in range(REHEARSALS):
            run(given)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate meanwhile. The stream is that of the rehearsals: libraries keep handles by stream.
        with torch.cuda.graph(graph, pool=self._memory, stream=self._stream, capture_error_mode="thread_local"):
            found = run(given)

        def replay(pictures: Tensor) -> Tensor:
            given[: len(pictures)].copy_(pictures, non_blocking=True)
            graph.replay()
            return found[: len(pictures)]

        return replay

    def arrays(self, outputs: dict[str, Tensor]) -> Arrays:
        """By pinned memory too, which is given back at once: whoever keeps answers shall not keep it."""
        staged = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
            for name, tensor in outputs.items()
        }
        self._stream.synchronize()
        return {name: tensor.numpy().copy() for name, tensor in staged.items()}

    def release(self) -> None:
        """To the driver, from which recordings and other processes take."""
        torch.cuda.empty_cache()


class Cpu:
    """The same on the CPU, where a recording computes all of its places anew: it is to test by, and not fast."""

    where = torch.device("cpu")
    fastest = torch.bfloat16  # CUDA's
    name = "the CPU"

    @contextmanager
    def working(self) -> Iterator[None]:
        """Nothing but that no gradients are kept."""
        with torch.inference_mode():
            yield

    def host(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """Ordinary memory."""
        return torch.tensor(pictures)

    def record(self, run: Run, shape: Shape) -> Run:
        """Raises what `run` raises at this shape."""
        given = torch.zeros(shape, dtype=torch.uint8)
        run(given)

        def replay(pictures: Tensor) -> Tensor:
            given[: len(pictures)].copy_(pictures)
            return run(given)[: len(pictures)]

        return replay

    def arrays(self, outputs: dict[str, Tensor]) -> Arrays:
        """As they are."""
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def release(self) -> None:
        """Nothing to give back."""


def single_precision() -> AbstractContextManager[None]:
    """Where single precision means it: by default CUDA's convolutions would round to TF32's ten bits."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return flags


def by_capability(major: int) -> torch.dtype:
    """The fastest type of a compute capability: tensor cores take float16 from 7 (Volta), bfloat16 from 8 (Ampere)."""
    return torch.bfloat16 if major >= 8 else torch.float16 if major >= 7 else torch.float32
