"""The handler of batches: `initialize` is called once, then `handle` with the requests of each batch.

These are the methods of a TorchServe handler. `service.worker.leader` calls them, and takes the only class that the
module defines. Several threads may call `handle` at the same time.
"""

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from service import engines
from service.config.environment import SettingsError
from service.config.logs import Logs
from service.config.tracing.trace_settings import TraceSettings
from service.engines import Engine, Images, eager
from service.engines.cuda import batch_sizes
from service.host.torchserve_log import CANNOT_LOAD
from service.models import cards
from service.models.cards import CardError, ModelCard
from service.models.identity import identity as identity_of
from service.tasks import PREDICT, can_run, operation_of, shared_image, task_of
from service.tasks.frame import Runtime, UnpackedFrame
from service.tasks.torch_head import BatchArrays
from service.worker import drain, exchange
from service.worker.batches import batch
from service.worker.batches.batch import BatchedOutput
from service.worker.batches.engine_queue import EngineQueue
from service.worker.exchange import NO_IMAGE, ExpiredImageError, RejectedImageError
from service.worker.resources.memory import resident_bytes
from service.worker.shared_images import SharedImages

if TYPE_CHECKING:
    from service.worker.spans import BatchSpans

log = logging.getLogger("service.worker")

Loader = Callable[[ModelCard, str | None], Engine]
EagerRun = Callable[[str, Images], BatchArrays]
EagerLoader = Callable[[ModelCard, str | None], EagerRun]
Alike = tuple[str, tuple[int, ...]]  # the operation and the shape of images that a batch may hold together
Timed = tuple[Images, float]  # an image, and the Unix time in seconds after which its result is not needed


class BatchHandler:
    """Answers each image of a batch for itself: a bad image never fails the others.

    Every response is a frame and leaves with HTTP 200, because TorchServe closes the gateway's pooled connection after
    any status above 399.
    """

    card: ModelCard
    engine: Engine

    def __init__(
        self,
        load: Loader = engines.load,
        clock: Callable[[], float] = time.time,
        load_eager: EagerLoader = eager.load,
        shared_memory: Path | None = None,
    ) -> None:
        """Take what loads the engine, the Unix time in seconds, and what loads the other operations.

        `shared_memory` is the folder of the gateways' arenas, by default the one of `RESNEST_SHARED_MEMORY_DIR`.
        """
        self._load = load
        self._clock = clock
        self._load_eager = load_eager
        self._eager: EagerRun | None = None
        self._shared = SharedImages(shared_memory or shared_image.folder(os.environ))
        self._logs: Logs | None = None
        self._spans: BatchSpans | None = None
        self._runtime: Runtime | None = None
        self._queue = EngineQueue(self._pass, 1, clock)
        self._eager_turn = threading.Lock()
        self._identity: str | None = None

    def initialize(self, context: Any) -> None:
        """Load the model in the worker's folder, and run small to full batches, so that no request pays for the first.

        Raises `CardError`, or what the batch failed with, after one line on standard error.
        """
        self._logs = exchange.log_to_standard_error()
        properties = context.system_properties
        try:
            self._start(Path(properties["model_dir"]), properties.get("gpu_id"))
        except Exception as error:
            reason = error if isinstance(error, CardError) else f"{properties['model_dir']}: {error!r}"
            log.critical("%s %s", CANNOT_LOAD, reason)
            raise
        self._spans = _spans_of(self.card)

    def handle(self, data: Sequence[dict[str, Any]], context: Any) -> list[bytes]:
        """Return for each request, in order, a frame for each of its images, in order."""
        if self._logs:
            self._logs.follow()
        opened = [[*map(self._shared.load, exchange.opened(request))] for request in data]
        replies = iter(self._replies([image for images in opened for image in images]))
        return [b"".join(islice(replies, len(images))) for images in opened]

    def _replies(self, opened: Sequence[UnpackedFrame | RejectedImageError]) -> list[bytes]:
        begun_ns = time.time_ns()
        outcomes = self._outcomes(opened)
        if self._spans is not None:
            self._spans.record(opened, outcomes, begun_ns)
        resident, draining, identity = resident_bytes(), drain.has_begun(), self._identity
        return [
            exchange.reply(outcomes[index], resident, self._runtime, draining=draining, identity=identity)
            for index in range(len(opened))
        ]

    def _outcomes(self, opened: Sequence[UnpackedFrame | RejectedImageError]) -> dict[int, BatchedOutput | Exception]:
        outcomes: dict[int, BatchedOutput | Exception] = {}
        alike: dict[Alike, dict[int, Timed]] = defaultdict(dict)
        for index, each in enumerate(opened):
            try:
                operation, image, expires = self._requested(each)
                alike[operation, image.shape][index] = image, expires
            except RejectedImageError as error:
                outcomes[index] = error
        for kind, images in alike.items():
            indices, size = list(images), operation_of(self.card, kind[0]).batch_size(self.card)
            for start in range(0, len(indices), size):  # TorchServe may have joined the batches of several gateways
                outcomes |= self._run(kind, {index: images[index] for index in indices[start : start + size]}, size)
        for outcome in outcomes.values():
            if isinstance(outcome, RejectedImageError):
                log.warning("refused an image: %s", outcome, extra={"model": self.card.name, "code": outcome.code})
        return outcomes

    def _start(self, folder: Path, gpu: int | None) -> None:
        self.card = cards.read(folder)
        self._identity = identity_of(self.card)
        task_of(self.card)
        # TorchServe counts GPUs by `nvidia-smi`, and without it, or on a slice of a GPU, names none.
        self._device = None if gpu is None else f"cuda:{gpu}"
        self.engine = self._load(self.card, self._device)
        self._runtime = engines.runtime_of(self.engine)
        self._queue = EngineQueue(self._pass, engines.calls_at_once(self.engine), self._clock)
        side = self.card.input.square
        for count in batch_sizes.sizes(operation_of(self.card, PREDICT).batch_size(self.card)):
            outputs = self.engine(np.zeros((count, side, side, 3), np.uint8))
        exchange.check_types(self.card, outputs)

    def _requested(self, opened: UnpackedFrame | RejectedImageError) -> tuple[str, Images, float]:
        if isinstance(opened, RejectedImageError):
            raise opened
        head, arrays = opened
        try:
            operation, image = head.get("operation", PREDICT), arrays["image"]
            expires = float(head.get("expires", "inf"))
        except (KeyError, TypeError, ValueError) as error:
            raise RejectedImageError(NO_IMAGE) from error
        if not (isinstance(operation, str) and can_run(self.card, operation)):
            raise RejectedImageError("This model does not have that operation.")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise RejectedImageError(f"The image is {image.dtype} {image.shape}, not uint8 (h, w, 3).")
        if not operation_of(self.card, operation).input(self.card).accepts(image.shape[0], image.shape[1]):
            raise RejectedImageError(f"The image's sides {image.shape[:2]} do not fit this model.")
        if self._clock() > expires:
            raise ExpiredImageError
        return operation, image, expires

    def _engine(self, operation: str) -> Engine:
        """Return what runs an operation. Others than `predict` share a network that is loaded at the first request."""

        def run(images: Images) -> BatchArrays:
            with self._eager_turn:
                self._eager = self._eager or self._load_eager(self.card, self._device)
                return self._eager(operation, images)

        return self.engine if operation == PREDICT else run

    def _pass(self, kind: Alike, images: Images) -> list[BatchedOutput | Exception]:
        return batch.run(self._engine(kind[0]), images)

    def _run(self, kind: Alike, images: dict[int, Timed], size: int) -> dict[int, BatchedOutput | Exception]:
        pixels, expires = zip(*images.values(), strict=True)
        outcomes = dict(zip(images, self._queue.outcomes(kind, pixels, expires, size), strict=True))
        failed = {
            index: outcome
            for index, outcome in outcomes.items()
            if isinstance(outcome, Exception) and not isinstance(outcome, RejectedImageError)
        }
        if failed:
            first = next(iter(failed.values()))
            fields = {"model": self.card.name, "failed": list(failed), "images": len(images)}
            log.error("inference failed", extra=fields, exc_info=first)
        return outcomes


def _spans_of(card: ModelCard) -> "BatchSpans | None":
    """Return what records a model's spans; None while traces are off, or after a log line if they cannot be sent."""
    if TraceSettings().traces == "off":
        return None
    try:
        from service.config.tracing.provider import open_provider  # noqa: PLC0415 - opentelemetry-sdk is an extra
        from service.worker.spans import BatchSpans  # noqa: PLC0415
    except ModuleNotFoundError as error:
        log.error("this worker sends no spans: it needs %s; install resnest-service[otel]", error.name)
        return None
    try:
        return BatchSpans(open_provider("worker"), card.name)
    except SettingsError as error:
        log.error("this worker sends no spans: %s", error)
        return None
