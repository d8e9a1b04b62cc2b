"""What the service does with pictures, without HTTP: decode each, ask each model, keep every answer in its place."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.cards import ModelCard
from service.errors import BackendBadResponse, BackendUnavailable, DeadlineExceeded, Internal, ServiceError
from service.gateway.admission import Admission
from service.gateway.backend import Answer, Backend, Pixels
from service.gateway.decoding import Facts, Pool, prepare
from service.gateway.metrics import Metrics
from service.gateway.uploads import Upload
from service.images import Limits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """One picture: its facts or why it has none, an answer or failure by each model, and seconds until decoded."""

    upload: Upload
    facts: Facts | ServiceError
    answers: tuple[Answer | ServiceError, ...] = ()
    decode_s: float = 0.0

    @property
    def failure(self) -> ServiceError | None:
        """What the picture failed with, if no model answered it."""
        if isinstance(self.facts, ServiceError):
            return self.facts
        failures = [answer for answer in self.answers if isinstance(answer, ServiceError)]
        return failures[0] if len(failures) == len(self.answers) else None

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage, of several models the slowest one's."""
        answers = [answer for answer in self.answers if isinstance(answer, Answer)]
        return {
            "decode": self.decode_s,
            "queue": max((answer.queue_s for answer in answers), default=0.0),
            "inference": max((answer.inference_s for answer in answers), default=0.0),
        }


class Inference:
    """Answers pictures by models; one that fails never fails its neighbours."""

    def __init__(
        self,
        backend: Backend,
        admission: Admission,
        limits: Limits,
        pool: Pool,
        metrics: Metrics,
        doubt: Callable[[], None],
    ) -> None:
        """`doubt` is called when a model turns out to have no worker."""
        self._backend = backend
        self._admission = admission
        self._limits = limits
        self._pool = pool
        self._metrics = metrics
        self._doubt = doubt

    async def run(self, uploads: Sequence[Upload], cards: Sequence[ModelCard], request_id: str) -> list[Result]:
        """A result for each upload, in their order, each with an answer by each card. Raises `Overloaded`."""
        names = [card.name for card in cards]
        try:
            with self._admission.enter(names, len(uploads)):
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._picture(upload, cards, request_id)) for upload in uploads]
        except ServiceError as error:
            self._count(cards, error.code(), len(uploads))
            raise
        return [task.result() for task in tasks]

    async def _picture(self, upload: Upload, cards: Sequence[ModelCard], request_id: str) -> Result:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            facts, inputs = await self._decode(upload, cards, started)
        except ServiceError as error:
            self._count(cards, error.code())
            return Result(upload, error)
        decode_s = loop.time() - started
        for card in cards:
            self._metrics.stages.labels(card.name, "decode").observe(decode_s)
        pairs = zip(cards, inputs, strict=True)
        answers = await asyncio.gather(*(self._ask(card, pixels, started, request_id) for card, pixels in pairs))
        return Result(upload, facts, tuple(answers), decode_s)

    async def _decode(self, upload: Upload, cards: Sequence[ModelCard], started: float) -> tuple[Facts, list[Pixels]]:
        if isinstance(upload.content, ServiceError):
            raise upload.content
        specs = [card.input for card in cards]
        try:
            async with asyncio.timeout_at(started + max(card.serving.deadline_s for card in cards)):
                return await self._pool.run(prepare, upload.content, self._limits, specs)
        except TimeoutError:
            raise DeadlineExceeded("The picture was not decoded before the deadline.") from None

    async def _ask(self, card: ModelCard, pixels: Pixels, started: float, request_id: str) -> Answer | ServiceError:
        deadline = started + card.serving.deadline_s
        try:
            answer = await self._backend.predict(card, pixels, deadline=deadline, request_id=request_id)
        except ServiceError as error:
            self._count([card], error.code())
            if isinstance(error, BackendUnavailable):
                self._doubt()
            if isinstance(error, BackendBadResponse | Internal):
                log.error("%s failed request_id=%s code=%s: %s", card.name, request_id, error.code(), error)
            return error
        self._count([card], "ok")
        self._metrics.batch_size.labels(card.name).observe(answer.batch)
        self._metrics.stages.labels(card.name, "queue").observe(answer.queue_s)
        self._metrics.stages.labels(card.name, "inference").observe(answer.inference_s)
        return answer

    def _count(self, cards: Sequence[ModelCard], outcome: str, pictures: int = 1) -> None:
        for card in cards:
            self._metrics.pictures.labels(card.name, outcome).inc(pictures)
