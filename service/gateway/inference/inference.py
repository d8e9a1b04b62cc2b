"""What the service does with pictures, without HTTP: decode each, ask each model, keep every answer in its place."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from service.errors import BackendBadResponse, BackendUnavailable, DeadlineExceeded, Internal, ServiceError
from service.gateway.backend.torchserve import Backend
from service.gateway.inference.response_cache import ResponseCache, digest_of
from service.gateway.metrics import CacheOutcome, Metrics
from service.gateway.scheduling.admission import Admission
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.body import Upload
from service.gateway.uploads.decode_queue import DecodeQueue
from service.models.cards import ModelCard
from service.tasks import queue_name
from service.tasks.base import DecodedFacts, ModelOutput, Pixels

log = logging.getLogger(__name__)

Value = TypeVar("Value")

ENTRY = 1024  # bytes of a result besides its arrays


@dataclass(frozen=True)
class Result:
    """One picture: its facts or why it has none, an answer or failure by each model, and seconds until decoded.

    `digest` is there where answers are kept, and `how` says whether this one was.
    """

    upload: Upload
    facts: DecodedFacts | ServiceError
    answers: tuple[ModelOutput | ServiceError, ...] = ()
    decode_s: float = 0.0
    digest: bytes = b""
    how: CacheOutcome = "miss"

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
        answers = [answer for answer in self.answers if isinstance(answer, ModelOutput)]
        return {
            "decode": self.decode_s,
            "queue": max((answer.queue_s for answer in answers), default=0.0),
            "inference": max((answer.inference_s for answer in answers), default=0.0),
        }

    def again(self) -> Self | None:
        """As it is told when found: it took no time. None where any of it failed."""
        answers = [
            replace(answer, inference_s=0.0, queue_s=0.0) for answer in self.answers if isinstance(answer, ModelOutput)
        ]
        if isinstance(self.facts, ServiceError) or len(answers) < len(self.answers):
            return None
        return replace(self, upload=Upload(b""), answers=tuple(answers), decode_s=0.0)

    def size(self) -> int:
        """The bytes of its arrays, and some for the rest."""
        answers = [answer for answer in self.answers if isinstance(answer, ModelOutput)]
        return ENTRY + sum(array.nbytes for answer in answers for array in answer.arrays.values())


class Inference:
    """Answers pictures by models; one that fails never fails its neighbours."""

    def __init__(
        self,
        backend: Backend,
        admission: Admission,
        turns: Mapping[str, FairQueue],
        decoders: DecodeQueue,
        metrics: Metrics,
        doubt: Callable[[], None],
        recall: ResponseCache[Result] | None = None,
    ) -> None:
        """`turns` are by `service.tasks.queue_name`; `doubt` is called when a model turns out to have no worker.

        Where there is a `recall`, what was answered before is found there.
        """
        self._backend = backend
        self._admission = admission
        self._turns = turns
        self._decoders = decoders
        self._metrics = metrics
        self._doubt = doubt
        self._recall = recall

    def check(self, cards: Sequence[ModelCard], terms: RequestTerms) -> None:
        """Raise `Overloaded` before a body is read that would be refused after it; a kept answer is known only then."""
        if self._recall is None:
            self._admission.check(cards, terms)

    async def run(
        self, uploads: Sequence[Upload], cards: Sequence[ModelCard], request_id: str, terms: RequestTerms
    ) -> list[Result]:
        """A result for each upload, in their order, each with an answer by each card. Raises `Overloaded`.

        Kept answers need no room.
        """
        digests = await side_by_side([self._digest(upload) for upload in uploads])
        kept = [self._kept(*each, cards, terms) for each in zip(uploads, digests, strict=True)]
        places = kept.count(None)
        try:
            with self._admission.enter(cards, terms, places) if places else nullcontext():
                computed = await side_by_side(
                    [
                        self._result(*each, cards, request_id, terms)
                        for each, found in zip(zip(uploads, digests, strict=True), kept, strict=True)
                        if found is None
                    ]
                )
        except ServiceError as error:
            self._count(cards, error.code(), places)
            raise
        if places < len(kept):
            self._count(cards, "ok", len(kept) - places)
        new = iter(computed)
        return [next(new) if found is None else found for found in kept]

    async def _digest(self, upload: Upload) -> bytes:
        """The picture's digest; empty where nothing is kept."""
        if self._recall is None or isinstance(upload.content, ServiceError):
            return b""
        return await digest_of(upload.content)

    def _kept(self, upload: Upload, digest: bytes, cards: Sequence[ModelCard], terms: RequestTerms) -> Result | None:
        found = self._recall.kept(self._key(digest, cards, terms)) if self._recall and digest else None
        if found is None:
            return None
        return replace(found, upload=upload, digest=digest, how="hit")

    def _key(self, digest: bytes, cards: Sequence[ModelCard], terms: RequestTerms) -> Hashable:
        caller = terms.caller if self._recall and not self._recall.shared else ""
        return (digest, tuple(card.name for card in cards), terms.operation, caller)

    async def _result(
        self, upload: Upload, digest: bytes, cards: Sequence[ModelCard], request_id: str, terms: RequestTerms
    ) -> Result:
        """What becomes known of the picture now."""
        begun = asyncio.get_running_loop().time()
        if self._recall is None or not digest:
            return await self._picture(upload, cards, request_id, terms)
        deadline = max(terms.deadline(card, begun) for card in cards)
        try:
            result, how = await self._recall.find(
                self._key(digest, cards, terms), deadline, lambda: self._picture(upload, cards, request_id, terms)
            )
        except DeadlineExceeded as error:
            self._count(cards, error.code())
            return Result(upload, error)
        if how != "miss":
            self._count(cards, "ok")
        return replace(result, upload=upload, digest=digest, how=how)

    async def _picture(
        self, upload: Upload, cards: Sequence[ModelCard], request_id: str, terms: RequestTerms
    ) -> Result:
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadlines = [terms.deadline(card, started) for card in cards]
        try:
            with ExitStack() as coming:
                for card in cards:
                    coming.enter_context(self._turns[queue_name(card, terms.operation)].expecting(terms.caller))
                facts, inputs = await self._decode(upload, cards, terms, max(deadlines))
        except ServiceError as error:
            self._count(cards, error.code())
            return Result(upload, error)
        decode_s = loop.time() - started
        for card in cards:
            self._metrics.stages.labels(card.name, "decode").observe(decode_s)
        answers = await side_by_side(
            [
                self._ask(card, pixels, deadline, request_id, terms)
                for card, pixels, deadline in zip(cards, inputs, deadlines, strict=True)
            ]
        )
        return Result(upload, facts, tuple(answers), decode_s)

    async def _decode(
        self, upload: Upload, cards: Sequence[ModelCard], terms: RequestTerms, deadline: float
    ) -> tuple[DecodedFacts, list[Pixels]]:
        if isinstance(upload.content, ServiceError):
            raise upload.content
        return await self._decoders.prepare(upload.content, cards, terms, deadline)

    async def _ask(
        self, card: ModelCard, pixels: Pixels, deadline: float, request_id: str, terms: RequestTerms
    ) -> ModelOutput | ServiceError:
        try:
            answer = await self._in_turn(card, pixels, deadline, request_id, terms)
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

    async def _in_turn(
        self, card: ModelCard, pixels: Pixels, deadline: float, request_id: str, terms: RequestTerms
    ) -> ModelOutput:
        """The model's answer, asked for when it is this caller's turn. Raises `ServiceError`.

        A caller that leaves while it waits is dropped; what a model was asked for keeps its place until answered.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()

        async def ask() -> ModelOutput:
            return await self._backend.predict(
                card, pixels, deadline=deadline, request_id=request_id, operation=terms.operation
            )

        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._turns[queue_name(card, terms.operation)].run(
                    ask, terms.caller, urgency=terms.urgency
                )
        except TimeoutError:
            raise DeadlineExceeded(f"{card.name} did not answer within the deadline") from None
        return replace(answer, queue_s=max(0.0, loop.time() - started - answer.inference_s))

    def _count(self, cards: Sequence[ModelCard], outcome: str, pictures: int = 1) -> None:
        for card in cards:
            self._metrics.images.labels(card.name, outcome).inc(pictures)


async def side_by_side(works: Sequence[Coroutine[Any, Any, Value]]) -> list[Value]:
    """What each gives, in their order; a lone one, which most requests are, is spared a task of its own."""
    if len(works) == 1:
        return [await works[0]]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
    return [task.result() for task in tasks]
