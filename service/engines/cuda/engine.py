"""PyTorch on CUDA: recorded passes of a few batch sizes, which any batch is made of, and plain ones for the rest."""

import copy
import gc
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.engines import graph, postprocess, torch_cpu
from service.engines.cuda import batch_sizes
from service.engines.cuda.device import Arrays, Cuda, Device, Run
from service.engines.failures import out_of_memory
from service.models.cards import ModelCard

log = logging.getLogger("service.worker")

Size = postprocess.Size
Pixels = npt.NDArray[np.uint8]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
SHAPES = 8  # whose passes are recorded, the first that come often; each takes memory for its inputs and its kernels
OFTEN = 4  # batches of a shape until it is worth a recording, which takes as long as some ten full batches
NOTED = 4096  # shapes whose batches are counted
TIMED = 3  # passes of each size before the first request; of a shape that comes later, whose caller waits, one


class Entry(nn.Module):
    """`(n, h, w, 3)` uint8 to `(n, 3, h, w)` as `normalise` makes it, in the network's precision and layout."""

    def __init__(self, normalise: nn.Module, dtype: torch.dtype, layout: torch.memory_format) -> None:
        super().__init__()
        self.normalise = normalise
        self.dtype = dtype
        self.layout = layout

    def forward(self, pictures: Tensor) -> Tensor:
        """The network's input."""
        x: Tensor = self.normalise(pictures)
        return x.to(self.dtype, memory_format=self.layout)


@dataclass
class Recorded:
    """A shape's passes by the number of pictures that they have room for, what each takes in ms, and the plan."""

    runs: dict[int, Run]
    times: dict[int, float]

    def __post_init__(self) -> None:
        self.first = batch_sizes.plan(self.times) if self.times else []

    def upto(self, most: int) -> "Recorded":
        """Those with room for at most so many pictures."""
        kept = {count: run for count, run in self.runs.items() if count <= most}
        return Recorded(kept, {count: self.times[count] for count in kept})


class GpuEngine:
    """A network for one caller at a time; see `service.engines.Engine` for its answers.

    A batch that there is no memory for is run in halves, and no later one is as large.
    """

    def __init__(self, name: str, network: Run, finish: postprocess.Finish, device: Device, largest: int) -> None:
        """`network` makes logits of `(n, h, w, 3)` uint8 on the device, of at most `largest` pictures at a time."""
        self._name = name
        self._network = network
        self._finish = finish
        self._device = device
        self._sizes = batch_sizes.sizes(largest)
        self._room: int | None = None  # pixels of a pass, known once there was no memory for more
        self._records = True
        self._recorded: dict[Size, Recorded] = {}
        self._seen: Counter[Size] = Counter()

    def __call__(self, pictures: Pixels) -> Arrays:
        """`(n, h, w, 3)`, in as few passes as it takes."""
        size = (pictures.shape[1], pictures.shape[2])
        parts: list[Arrays] = []
        with self._device.working():
            self._notice(size)
            while len(pictures):
                count, run = self._next(size, len(pictures))
                done = self._attempt(run, pictures[:count])
                if done is None:
                    self._shrink(size, count)
                else:
                    parts.append(done)
                    pictures = pictures[count:]
        return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}

    def prepare(self, size: Size, timed: int = TIMED) -> dict[int, float]:
        """Record the passes of pictures of this size, the largest first: smaller ones then have its memory.

        Tells what a pass takes by its number of pictures, in ms, the median of `timed` passes.
        """
        runs: dict[int, Run] = {}
        times: dict[int, float] = {}
        with self._device.working():
            for count in reversed(self._sizes):
                if count > self._most(size):
                    continue
                run = self._record(count, size)
                found = self._time(run, count, size, timed)
                if found is None:
                    del run  # with its memory
                    self._shrink(size, count)
                else:
                    runs[count], times[count] = run, found
        if self._records:
            self._recorded[size] = Recorded(runs, times).upto(self._most(size))
        return times

    def _notice(self, size: Size) -> None:
        """Record the passes of a shape that comes often, as long as there are few."""
        if not self._records or size in self._recorded or len(self._recorded) >= SHAPES:
            return
        if len(self._seen) >= NOTED:
            self._seen.clear()
        self._seen[size] += 1
        if self._seen[size] >= OFTEN:
            self._recorded[size] = Recorded({}, {})  # where preparing fails, it is not tried again
            self.prepare(size, timed=1)

    def _most(self, size: Size) -> int:
        """The most pictures of a pass."""
        largest = self._sizes[-1]
        return largest if self._room is None else max(1, min(largest, self._room // (size[0] * size[1])))

    def _next(self, size: Size, count: int) -> tuple[int, Run]:
        """How many of `count` pictures go through the network next, and by what."""
        recorded = self._recorded.get(size)
        if recorded is None or not recorded.runs:
            return min(count, self._most(size)), self._plain
        bucket = recorded.first[min(count, len(recorded.first) - 1)]
        return min(count, bucket), recorded.runs[bucket]

    def _attempt(self, run: Run, pictures: Pixels) -> Arrays | None:
        """The answers, or None where there is no memory for them and fewer pictures may do."""
        size = (pictures.shape[1], pictures.shape[2])
        try:
            return self._device.arrays(self._finish(run(self._device.host(pictures)), size))
        except Exception as error:
            if len(pictures) == 1 or not out_of_memory(error):
                raise
            return None

    def _plain(self, pictures: Tensor) -> Tensor:
        return self._network(pictures.to(self._device.where, non_blocking=True))

    def _record(self, count: int, size: Size) -> Run:
        """The recorded pass, or the plain one, and then all others plain too."""
        if not self._records:
            return self._plain
        try:
            return self._device.record(self._network, (count, *size, 3))
        except RuntimeError as error:
            if out_of_memory(error):
                return self._plain  # which finds out whether there is memory without a recording
            self._records = False
            log.warning("%s: no pass is recorded, so that small batches are slower: %s", self._name, error)
            return self._plain

    def _time(self, run: Run, count: int, size: Size, timed: int) -> float | None:
        """Milliseconds of a pass with its copies; None where there is no memory for it."""
        black = np.zeros((count, *size, 3), np.uint8)
        taken = []
        for _ in range(1 + timed):
            begun = time.perf_counter()
            if self._attempt(run, black) is None:
                return None
            taken.append((time.perf_counter() - begun) * 1e3)
        return median(taken[1:])

    def _shrink(self, size: Size, count: int) -> None:
        """Let no pass be as large as one of `count` pictures of this size, for which there was no memory."""
        fewer = count // 2
        self._room = fewer * size[0] * size[1]
        self._recorded = {each: recorded.upto(self._most(each)) for each, recorded in self._recorded.items()}
        self._device.release()
        log.warning("%s: no memory for %d pictures of %dx%d; at most %d from now on", self._name, count, *size, fewer)


def load(card: ModelCard, where: str, on: Callable[[str], Device] = Cuda) -> GpuEngine:
    """The card's network with its weights, all of its batch sizes ready, in the layout that is faster there.

    Raises `CardError` where the weights cannot be had or do not fit, `torch.OutOfMemoryError` where there is no memory
    for one picture.
    """
    torch_cpu.refuse_int8(card)
    device = on(where)
    dtype = PRECISIONS.get(card.serving.precision, device.fastest)
    module = graph.build(card)
    torch_cpu.halve(module.network, dtype)
    size = (card.input.square, card.input.square)
    times: dict[str, dict[int, float]] = {}
    for name, layout in LAYOUTS.items():
        times[name] = _placed(module, card, on(where), dtype, layout).prepare(size)
        _emptied(device)  # each layout is tried, and then serves, with all of the memory for itself
    count = max(set.intersection(*(set(each) for each in times.values())))
    best = min(times, key=lambda name: times[name][count])
    told = ", ".join(f"{name} {each[count]:.2f} ms" for name, each in times.items())
    log.info("%s: %s on %s, %s: %d pictures take %s", card.name, dtype, device.name, best, count, told)
    engine = _placed(module, card, device, dtype, LAYOUTS[best])
    engine.prepare(size)
    return engine


def _emptied(device: Device) -> None:
    """Give back what an engine had that is gone, those included that were in a cycle of references."""
    gc.collect()
    with device.working():
        device.release()


def _placed(
    module: graph.Graph, card: ModelCard, device: Device, dtype: torch.dtype, layout: torch.memory_format
) -> GpuEngine:
    """The engine of a copy of the network on the device.

    Ours compute all in `dtype`. What timm's keep besides is not ours to know: there autocast decides by operation.
    """
    with device.working():
        network = copy.deepcopy(module.network).to(device.where, memory_format=layout)  # type: ignore[call-overload]
        entry = Entry(copy.deepcopy(module.normalise), dtype, layout).to(device.where)
    whole = graph.Graph(entry, network).eval()
    by_operation = card.network.library != "own" and dtype != torch.float32

    def run(pictures: Tensor) -> Tensor:
        with torch.autocast(device.where.type, dtype, enabled=by_operation, cache_enabled=False):
            logits: Tensor = whole(pictures)
        return logits

    return GpuEngine(card.name, run, postprocess.finish(network), device, card.serving.batch_size)
