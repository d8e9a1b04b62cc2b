"""The batching handler: TorchServe calls `initialize` once, then `handle` with the requests of each batch.

TorchServe asks for these two methods and no base class, so nothing of it is imported here.
"""

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from service import engines
from service.engines import Arrays, Engine, Pictures, operations
from service.engines.cuda import batch_sizes
from service.errors import DeadlineExceeded, Internal, ServiceError
from service.host.handler_modules import CANNOT_LOAD
from service.models import cards
from service.models.cards import CardError, ModelCard, Task
from service.tasks import frame
from service.tasks.frame import Opened
from service.tasks.operations import Question, can_answer, input_of
from service.worker import batch
from service.worker.memory import resident_bytes

log = logging.getLogger("service.worker")

Loader = Callable[[ModelCard, str | None], Engine]
Insight = Callable[[Question, Pictures], Arrays]
InsightLoader = Callable[[ModelCard, str | None], Insight]


NO_PICTURE = "The request is no envelope with a picture."


class RefusedError(ValueError):
    """A request that is not computed, and the problem to tell: `Internal` where gateway and worker disagree."""

    def __init__(self, detail: str, error: type[ServiceError] = Internal) -> None:
        super().__init__(detail)
        self.error = error


class BatchHandler:
    """Arrays every place of a batch for itself: a bad one never fails its neighbours.

    Every answer is an envelope and leaves with HTTP 200, because TorchServe closes the gateway's pooled connection
    after any status above 399.
    """

    task: ClassVar[Task]

    card: ModelCard
    engine: Engine

    def __init__(
        self,
        load: Loader = engines.load,
        clock: Callable[[], float] = time.time,
        load_insight: InsightLoader = operations.load,
    ) -> None:
        """`clock` tells the Unix time in seconds."""
        self._load = load
        self._clock = clock
        self._load_insight = load_insight
        self._insight: Insight | None = None

    def initialize(self, context: Any) -> None:
        """Load the model in the worker's folder, and run small to full batches, so that no request pays for the first.

        Raises `CardError`, or what the batch failed with, after one line on standard error.
        """
        _log_to_standard_error()
        properties = context.system_properties
        try:
            self._start(Path(properties["model_dir"]), properties.get("gpu_id"))
        except Exception as error:
            reason = error if isinstance(error, CardError) else f"{properties['model_dir']}: {error!r}"
            log.critical("%s %s", CANNOT_LOAD, reason)
            raise

    def handle(self, data: Sequence[dict[str, Any]], context: Any) -> list[bytes]:
        """For each request, in their order, an envelope for each of its pictures, in theirs."""
        opened = [_opened(request) for request in data]
        replies = iter(self._replies([picture for pictures in opened for picture in pictures]))
        return [b"".join(islice(replies, len(pictures))) for pictures in opened]

    def _replies(self, opened: Sequence[Opened | RefusedError]) -> list[bytes]:
        replies: dict[int, bytes] = {}
        alike: dict[tuple[Question, tuple[int, ...]], dict[int, Pictures]] = defaultdict(dict)
        for place, each in enumerate(opened):
            try:
                question, picture = self._asked(each)
                alike[question, picture.shape][place] = picture
            except RefusedError as error:
                log.warning("refused place=%d of=%d reason=%s", place, len(opened), error)
                replies[place] = _failure(str(error), error.error)
        for (question, _), pictures in alike.items():
            places, size = list(pictures), self.card.serving.batch_size
            for start in range(0, len(places), size):  # TorchServe may have put several gateways' batches together
                replies |= self._answer(question, {place: pictures[place] for place in places[start : start + size]})
        return [replies[place] for place in range(len(opened))]

    def _start(self, folder: Path, gpu: int | None) -> None:
        self.card = cards.read(folder)
        if self.card.task != self.task:
            raise CardError(f"{self.card.name} is a {self.card.task} model, and its handler is for {self.task}")
        # TorchServe counts GPUs by `nvidia-smi`, and without it, or on a slice of a GPU, names none.
        self._device = None if gpu is None else f"cuda:{gpu}"
        self.engine = self._load(self.card, self._device)
        side = self.card.input.square
        for count in batch_sizes.sizes(self.card.serving.batch_size):
            self.engine(np.zeros((count, side, side, 3), np.uint8))

    def _asked(self, opened: Opened | RefusedError) -> tuple[Question, Pictures]:
        if isinstance(opened, RefusedError):
            raise opened
        head, arrays = opened
        try:
            question, picture = head.get("question", "answer"), arrays["picture"]
            expires = float(head.get("expires", "inf"))
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(NO_PICTURE) from error
        if not can_answer(self.card, question):
            raise RefusedError("This model is not asked for that.")
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise RefusedError(f"The picture is {picture.dtype} {picture.shape}, not uint8 (h, w, 3).")
        if not input_of(self.card, question).accepts(picture.shape[0], picture.shape[1]):
            raise RefusedError(f"The picture's sides {picture.shape[:2]} are none of this model's.")
        if self._clock() > expires:
            raise RefusedError("The deadline passed before the picture's batch began.", DeadlineExceeded)
        return question, picture

    def _engine(self, question: Question) -> Engine:
        """What answers a question; other ones than the task's get a network of their own, loaded at the first."""

        def run(pictures: Pictures) -> Arrays:
            self._insight = self._insight or self._load_insight(self.card, self._device)
            return self._insight(question, pictures)

        return self.engine if question == "answer" else run

    def _answer(self, question: Question, pictures: dict[int, Pictures]) -> dict[int, bytes]:
        outcomes = dict(zip(pictures, batch.run(self._engine(question), list(pictures.values())), strict=True))
        failed = {place: outcome for place, outcome in outcomes.items() if isinstance(outcome, Exception)}
        if failed:
            first = next(iter(failed.values()))
            log.error("inference failed places=%s of=%d", list(failed), len(pictures), exc_info=first)
        resident = resident_bytes()
        return {place: _reply(outcome, resident) for place, outcome in outcomes.items()}


def _opened(request: dict[str, Any]) -> list[Opened | RefusedError]:
    """What a request's body holds; a refusal where that is none of ours."""
    try:
        return [*frame.unpack_all(request["body"])]
    except (KeyError, TypeError, ValueError):
        return [RefusedError(NO_PICTURE)]


def _reply(outcome: batch.Answered | Exception, resident: int | None) -> bytes:
    if isinstance(outcome, Exception):
        return _failure("The model failed on this picture.")
    head = {"ok": True, "batch": outcome.batch, "inference_ms": round(outcome.inference_ms, 3)}
    return frame.pack({**head, "worker_bytes": resident}, outcome.arrays)


def _failure(detail: str, error: type[ServiceError] = Internal) -> bytes:
    """What goes wrong here is ours, not the caller's: the gateway has validated the picture."""
    return frame.pack({"ok": False, "code": error.code(), "detail": detail})


def _log_to_standard_error() -> None:
    """TorchServe logs a worker's standard error as warnings, and its standard output, full of chatter, below.

    Its own two lines a batch, which Java reads and takes apart while the network runs, are not written: nobody does.
    """
    logging.getLogger().setLevel(logging.WARNING)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    service = logging.getLogger("service")
    service.handlers = [handler]
    service.setLevel(logging.INFO)
    service.propagate = False
