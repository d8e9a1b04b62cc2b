"""The CUDA engine: PyTorch with CUDA graphs recorded for a few batch sizes, of which every batch is composed."""

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

from service.engines import graph, torch_cpu
from service.engines.cuda import batch_sizes
from service.engines.cuda.device import Cuda, Device, Run
from service.engines.failures import out_of_memory
from service.engines.heads import head_of
from service.models.cards import ModelCard
from service.networks.inference_form import REFERENCE, Form
from service.tasks.frame import Runtime
from service.tasks.torch_head import BatchArrays, ImageSize, Postprocess, join

log = logging.getLogger("service.worker")

Images = npt.NDArray[np.uint8]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
FORMS = {"reference": REFERENCE, "splits": Form(fold=True, split_attention=True)}
MAX_RECORDED_SHAPES = 8  # the first frequent ones; each takes memory for its inputs and its kernels
RECORD_AFTER = 4  # batches of one shape; a recording takes as long as about ten full batches
MAX_COUNTED_SHAPES = 4096
TIMED_PASSES = 3  # per batch size before the first request; one for a shape recorded later, while a caller waits


class InputConversion(nn.Module):
    """Normalisation of the images, and conversion to the precision and memory format of the network."""

    def __init__(self, normalise: nn.Module, dtype: torch.dtype, layout: torch.memory_format) -> None:
        super().__init__()
        self.normalise = normalise
        self.dtype = dtype
        self.layout = layout

    def forward(self, images: Tensor) -> Tensor:
        """Map `(n, h, w, 3)` uint8 to `(n, 3, h, w)`."""
        x: Tensor = self.normalise(images)
        return x.to(self.dtype, memory_format=self.layout)


@dataclass
class RecordedPasses:
    """The recorded passes of one image size by batch size, their times in ms, and the plan of `batch_sizes`."""

    runs: dict[int, Run]
    times: dict[int, float]

    def __post_init__(self) -> None:
        self.first = batch_sizes.plan(self.times) if self.times else []

    def up_to(self, most: int) -> "RecordedPasses":
        """Return the passes with a batch size of at most `most`."""
        kept = {count: run for count, run in self.runs.items() if count <= most}
        return RecordedPasses(kept, {count: self.times[count] for count in kept})


class CudaEngine:
    """A network for one caller at a time; see `service.engines.Engine` for its outputs.

    If memory runs out, the batch is run in halves, and no later pass is as large.
    """

    def __init__(self, name: str, network: Run, postprocess: Postprocess, device: Device, largest: int) -> None:
        """Take a `network` that maps `(n, h, w, 3)` uint8 on the device to logits, for at most `largest` images."""
        self.runtime = Runtime("torch", device.torch_device.type)
        self._name = name
        self._network = network
        self._postprocess = postprocess
        self._device = device
        self._sizes = batch_sizes.sizes(largest)
        self._max_pixels: int | None = None  # of a pass; None until memory ran out
        self._can_record = True
        self._recorded: dict[ImageSize, RecordedPasses] = {}
        self._batches_seen: Counter[ImageSize] = Counter()

    def __call__(self, images: Images) -> BatchArrays:
        """Run images `(n, h, w, 3)`, in one pass or several."""
        size = (images.shape[1], images.shape[2])
        parts: list[BatchArrays] = []
        with self._device.active():
            self._record_if_frequent(size)
            while len(images):
                count, run = self._next_pass(size, len(images))
                done = self._attempt(run, images[:count])
                if done is None:
                    self._shrink(size, count)
                else:
                    parts.append(done)
                    images = images[count:]
        return join(parts)

    def is_halved(self, images: Images) -> bool:
        """Return whether images `(n, h, w, 3)` take smaller passes, because memory has run out before."""
        return min(len(images), self._sizes[-1]) > self._max_images((images.shape[1], images.shape[2]))

    def prepare(self, size: ImageSize, timed: int = TIMED_PASSES) -> dict[int, float]:
        """Record the passes for images of this size, the largest batch first, whose memory smaller ones then share.

        Return the time of a pass in ms by batch size: the median of `timed` passes.
        """
        runs: dict[int, Run] = {}
        times: dict[int, float] = {}
        with self._device.active():
            for count in reversed(self._sizes):
                if count > self._max_images(size):
                    continue
                run = self._record(count, size)
                time_ms = self._time(run, count, size, timed)
                if time_ms is None:
                    del run  # frees its memory
                    self._shrink(size, count)
                else:
                    runs[count], times[count] = run, time_ms
        if self._can_record:
            self._recorded[size] = RecordedPasses(runs, times).up_to(self._max_images(size))
        return times

    def _record_if_frequent(self, size: ImageSize) -> None:
        """Record the passes of a frequent image size, up to `MAX_RECORDED_SHAPES` sizes."""
        if not self._can_record or size in self._recorded or len(self._recorded) >= MAX_RECORDED_SHAPES:
            return
        if len(self._batches_seen) >= MAX_COUNTED_SHAPES:
            self._batches_seen.clear()
        self._batches_seen[size] += 1
        if self._batches_seen[size] >= RECORD_AFTER:
            self._recorded[size] = RecordedPasses({}, {})  # so that a failure is not retried
            self.prepare(size, timed=1)

    def _max_images(self, size: ImageSize) -> int:
        """Return the maximum number of images in a pass."""
        largest = self._sizes[-1]
        return largest if self._max_pixels is None else max(1, min(largest, self._max_pixels // (size[0] * size[1])))

    def _next_pass(self, size: ImageSize, count: int) -> tuple[int, Run]:
        """Return how many of `count` images the next pass takes, and the function that runs it."""
        recorded = self._recorded.get(size)
        if recorded is None or not recorded.runs:
            return min(count, self._max_images(size)), self._run_plain
        batch_size = recorded.first[min(count, len(recorded.first) - 1)]
        return min(count, batch_size), recorded.runs[batch_size]

    def _attempt(self, run: Run, images: Images) -> BatchArrays | None:
        """Return the outputs, or None if memory ran out and fewer images may fit."""
        size = (images.shape[1], images.shape[2])
        try:
            return self._device.to_arrays(self._postprocess(run(self._device.stage(images)), size))
        except Exception as error:
            if len(images) == 1 or not out_of_memory(error):
                raise
            return None

    def _run_plain(self, images: Tensor) -> Tensor:
        return self._network(images.to(self._device.torch_device, non_blocking=True))

    def _record(self, count: int, size: ImageSize) -> Run:
        """Return the recorded pass. If recording fails, return the plain pass, now and from then on."""
        if not self._can_record:
            return self._run_plain
        try:
            return self._device.record(self._network, (count, *size, 3))
        except RuntimeError as error:
            if out_of_memory(error):
                return self._run_plain  # shows whether the memory suffices without a recording
            self._can_record = False
            log.warning("%s: CUDA graphs cannot be recorded, so small batches are slower: %s", self._name, error)
            return self._run_plain

    def _time(self, run: Run, count: int, size: ImageSize, timed: int) -> float | None:
        """Return the time of a pass with its copies in ms, or None if there is not enough memory."""
        black = np.zeros((count, *size, 3), np.uint8)
        taken = []
        for _ in range(1 + timed):
            begun = time.perf_counter()
            if self._attempt(run, black) is None:
                return None
            taken.append((time.perf_counter() - begun) * 1e3)
        return median(taken[1:])

    def _shrink(self, size: ImageSize, count: int) -> None:
        """Limit later passes to half of `count` images of this size, for which memory ran out."""
        fewer = count // 2
        self._max_pixels = fewer * size[0] * size[1]
        self._recorded = {each: recorded.up_to(self._max_images(each)) for each, recorded in self._recorded.items()}
        self._device.release_memory()
        log.warning("%s: no memory for %d images of %dx%d; at most %d from now on", self._name, count, *size, fewer)


def load(card: ModelCard, device_name: str, device_type: Callable[[str], Device] = Cuda) -> CudaEngine:
    """Return the engine of a card with its batch sizes recorded, in the fastest of its forms and memory formats.

    Raises `CardError` if the weights are missing or do not fit, and `torch.OutOfMemoryError` if there is not enough
    memory for one image.
    """
    torch_cpu.refuse_int8(card)
    device = device_type(device_name)
    dtype = PRECISIONS.get(card.serving.precision, device.fastest_dtype)
    forms = FORMS if card.network.library == "own" else {"reference": REFERENCE}
    variants = {f"{form}, {layout}": (forms[form], LAYOUTS[layout]) for form in forms for layout in LAYOUTS}
    size = (card.input.square, card.input.square)
    times: dict[str, dict[int, float]] = {}
    for name, (form, layout) in variants.items():
        timed = _engine(_halved(card, form, dtype), card, device_type(device_name), dtype, layout)
        times[name] = timed.prepare(size)
        del timed
        _free_memory(device)  # so that each variant is timed, and later serves, with all of the memory
    count = max(set.intersection(*(set(each) for each in times.values())))
    fastest = min(times, key=lambda name: times[name][count])
    measured = "; ".join(f"{name} {each[count]:.2f} ms" for name, each in times.items())
    log.info("%s: %s on %s, %s: %d images take %s", card.name, dtype, device.name, fastest, count, measured)
    form, layout = variants[fastest]
    engine = _engine(_halved(card, form, dtype), card, device, dtype, layout)
    engine.prepare(size)
    return engine


def _halved(card: ModelCard, form: Form, dtype: torch.dtype) -> graph.Graph:
    module = graph.build(card, form)
    torch_cpu.halve(module.network, dtype)
    return module


def _free_memory(device: Device) -> None:
    """Free the memory of deleted engines, also of objects in reference cycles."""
    gc.collect()
    with device.active():
        device.release_memory()


def _engine(
    module: graph.Graph, card: ModelCard, device: Device, dtype: torch.dtype, layout: torch.memory_format
) -> CudaEngine:
    """Return the engine of the network, which is moved to the device.

    Our own networks compute everything in `dtype`. For timm's networks, whose needs are unknown, autocast decides by
    operation.
    """
    with device.active():
        network = module.network.to(device.torch_device, memory_format=layout)  # type: ignore[call-overload]
        conversion = InputConversion(module.normalise, dtype, layout).to(device.torch_device)
    head = head_of(card)
    whole = graph.Graph(conversion, network, head.forward(card)).eval()
    by_operation = card.network.library != "own" and dtype != torch.float32

    def run(images: Tensor) -> Tensor:
        with torch.autocast(device.torch_device.type, dtype, enabled=by_operation, cache_enabled=False):
            logits: Tensor = whole(images)
        return logits

    return CudaEngine(card.name, run, head.postprocess(card, network), device, card.serving.batch_size)
