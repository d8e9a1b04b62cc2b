"""A roofline model: the measured limits of a device, and the counted work of a network."""

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

MIN_RUNS = 3


@dataclass(frozen=True)
class Ceilings:
    """The limits of a device: operations per second with large matrices, bytes per second in memory and from the host.

    `copied_per_s` counts the bytes read and the bytes written.
    """

    flops_per_s: float
    copied_per_s: float
    sent_per_s: float

    def __str__(self) -> str:
        return (
            f"{self.flops_per_s / 1e12:.2f} TFLOP/s of matrices, {self.copied_per_s / 1e9:.0f} GB/s of its memory, "
            f"{self.sent_per_s / 1e9:.1f} GB/s from the host"
        )


@dataclass(frozen=True)
class Work:
    """The work of a forward pass: operations (a multiplication with its addition is two), and bytes read and written.

    The bytes are those of all inputs and outputs of each operation, weights included, as if there were no cache.
    """

    flops: float
    moved: float


def measure(device: Device, dtype: torch.dtype, *, side: int, megabytes: int, seconds: float) -> Ceilings:
    """Measure the limits with square matrices of this side in `dtype`, and with copies of this many megabytes."""
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
    """Call `run` for about `seconds`, and return the seconds of the fastest call except the first."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) <= MIN_RUNS or time.perf_counter() < end:
        begun = time.perf_counter()
        run()
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def work(card: ModelCard, images: int, dtype: torch.dtype) -> Work:
    """Count the work of a forward pass of the card's network, without computing it."""
    network = graph.skeleton(card).eval()
    torch_cpu.halve(network, dtype)
    side = card.input.square
    where = next(network.parameters()).device
    x = torch.empty((images, 3, side, side), dtype=dtype, device=where)
    traffic = _Traffic()
    with torch.no_grad(), FlopCounterMode(display=False) as counter, traffic:
        graph.Graph(torch.nn.Identity(), network, head_of(card).forward(card))(x)
    return Work(counter.get_total_flops(), traffic.moved)


class _Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write. Operations that return a view do not count."""

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


def shares(limits: Ceilings, counted: Work, seconds: float) -> dict[str, float]:
    """Return the work of a pass that took `seconds`, and its shares of the device's limits."""
    return {
        **asdict(counted),
        "matrix_share": counted.flops / seconds / limits.flops_per_s,
        "memory_share": counted.moved / seconds / limits.copied_per_s,
    }
