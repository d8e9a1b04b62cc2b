"""What a device can do, measured, and what a network asks of it, counted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from service.engines import graph, torch_cpu
from service.engines.cuda.device import Device
from service.engines.heads import head_of
from service.models.cards import ModelCard

LEAST_RUNS = 3


@dataclass(frozen=True)
class Ceilings:
    """Operations a second of matrices as large as they like it, bytes a second read and written, and to the device."""

    flops_per_s: float
    copied_per_s: float
    sent_per_s: float

    def told(self) -> str:
        """As a phrase."""
        return (
            f"{self.flops_per_s / 1e12:.2f} TFLOP/s of matrices, {self.copied_per_s / 1e9:.0f} GB/s of its memory, "
            f"{self.sent_per_s / 1e9:.1f} GB/s from the host"
        )


@dataclass(frozen=True)
class Work:
    """A pass's operations, two for each multiplication with its addition, and the bytes that it reads and writes.

    The bytes are those of each operation's inputs and outputs, weights among them, as if no cache kept any.
    """

    flops: float
    moved: float


def measure(device: Device, dtype: torch.dtype, *, side: int, megabytes: int, seconds: float) -> Ceilings:
    """The best of many runs: square matrices of this side in `dtype`, and copies of so many megabytes."""
    where = device.torch_device
    with device.active():
        left, right = (torch.randn(side, side, device=where).to(dtype) for _ in range(2))
        source = torch.ones(megabytes << 20, dtype=torch.uint8, device=where)
        target = torch.empty_like(source)
        pinned = torch.empty(megabytes << 20, dtype=torch.uint8, pin_memory=where.type == "cuda")
        matrices = best_s(where, lambda: torch.mm(left, right), seconds)
        copy = best_s(where, lambda: target.copy_(source), seconds)
        sent = best_s(where, lambda: target.copy_(pinned, non_blocking=True), seconds)
    return Ceilings(2 * side**3 / matrices, 2 * source.nbytes / copy, source.nbytes / sent)


def best_s(where: torch.device, run: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of the runs in about so many seconds, the first left out."""
    taken: list[float] = []
    ends = time.perf_counter() + seconds
    while len(taken) <= LEAST_RUNS or time.perf_counter() < ends:
        begun = time.perf_counter()
        run()
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def work(card: ModelCard, pictures: int, dtype: torch.dtype) -> Work:
    """What a pass of the card's network takes, counted without computing it."""
    network = graph.skeleton(card).eval()
    torch_cpu.halve(network, dtype)
    side = card.input.square
    where = next(network.parameters()).device
    x = torch.empty((pictures, 3, side, side), dtype=dtype, device=where)
    traffic = _Traffic()
    with torch.no_grad(), FlopCounterMode(display=False) as counter, traffic:
        graph.Graph(torch.nn.Identity(), network, head_of(card).forward)(x)
    return Work(counter.get_total_flops(), traffic.moved)


class _Traffic(TorchDispatchMode):
    """The bytes of what operations read and write, but for those that only look at a tensor otherwise."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.moved += sum(tensor.nbytes for tensor in _tensors((args, kwargs, found)))
        return found


def _tensors(of: Any) -> Iterator[Tensor]:
    if isinstance(of, Tensor):
        yield of
    elif isinstance(of, dict):
        yield from _tensors(tuple(of.values()))
    elif isinstance(of, tuple | list):
        for each in of:
            yield from _tensors(each)


def shares(found: Ceilings, counted: Work, seconds: float) -> dict[str, float]:
    """A pass's operations and bytes against what the device can do in its time."""
    return {
        **asdict(counted),
        "matrix_share": counted.flops / seconds / found.flops_per_s,
        "memory_share": counted.moved / seconds / found.copied_per_s,
    }
