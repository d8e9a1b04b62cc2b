"""Run inference on uploads, without HTTP: look into the response cache, decode, and call the models."""

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

OVERHEAD_BYTES = 1024  # of a cached result, besides its arrays


@dataclass(frozen=True)
class Result:
    """The result of one image: its facts, and for each model its output or the error that it failed with.

    `facts` is an error if the image could not be decoded; then there are no outputs. `decode_s` is the time until the
    image was decoded, in seconds. `digest` is empty if the response cache is off or the upload is an error.
    """

    upload: Upload
    facts: DecodedFacts | ServiceError
    outputs: tuple[ModelOutput | ServiceError, ...] = ()
    decode_s: float = 0.0
    digest: bytes = b""
    cache_outcome: CacheOutcome = "miss"

    @property
    def failure(self) -> ServiceError | None:
        """The error of the image if no model returned an output, else None."""
        if isinstance(self.facts, ServiceError):
            return self.facts
        failures = [output for output in self.outputs if isinstance(output, ServiceError)]
        return failures[0] if len(failures) == len(self.outputs) else None

    @property
    def stages(self) -> dict[str, float]:
        """The seconds of each stage. If there are several models, those of the slowest."""
        outputs = [output for output in self.outputs if isinstance(output, ModelOutput)]
        return {
            "decode": self.decode_s,
            "queue": max((output.queue_s for output in outputs), default=0.0),
            "inference": max((output.inference_s for output in outputs), default=0.0),
        }

    def cacheable(self) -> Self | None:
        """Return the result as a later hit returns it: without the upload, its times 0. None if any part failed."""
        outputs = [
            replace(output, inference_s=0.0, queue_s=0.0) for output in self.outputs if isinstance(output, ModelOutput)
        ]
        if isinstance(self.facts, ServiceError) or len(outputs) < len(self.outputs):
            return None
        return replace(self, upload=Upload(b""), outputs=tuple(outputs), decode_s=0.0)

    def size(self) -> int:
        """Return the bytes of the arrays, plus `OVERHEAD_BYTES`."""
        outputs = [output for output in self.outputs if isinstance(output, ModelOutput)]
        return OVERHEAD_BYTES + sum(array.nbytes for output in outputs for array in output.arrays.values())


class Inference:
    """Runs models on images. An image that fails does not affect the other images of its request."""

    def __init__(
        self,
        backend: Backend,
        admission: Admission,
        queues: Mapping[str, FairQueue],
        decode_queue: DecodeQueue,
        metrics: Metrics,
        recheck: Callable[[], None],
        response_cache: ResponseCache[Result] | None = None,
    ) -> None:
        """Use `queues` by `service.tasks.queue_name`; `recheck` is called when a model has no ready worker."""
        self._backend = backend
        self._admission = admission
        self._queues = queues
        self._decode_queue = decode_queue
        self._metrics = metrics
        self._recheck = recheck
        self._response_cache = response_cache

    def check(self, cards: Sequence[ModelCard], terms: RequestTerms) -> None:
        """Raise `Overloaded` before the body is read, if the request would be rejected after it.

        With the response cache on this check is skipped: only the body shows whether the results are cached.
        """
        if self._response_cache is None:
            self._admission.check(cards, terms)

    async def run(
        self, uploads: Sequence[Upload], cards: Sequence[ModelCard], request_id: str, terms: RequestTerms
    ) -> list[Result]:
        """Return a result for each upload, in their order, with an output of each card's model. Raises `Overloaded`.

        Cached results take no slots.
        """
        digests = await run_concurrently([self._digest(upload) for upload in uploads])
        cached = [self._cached(*each, cards, terms) for each in zip(uploads, digests, strict=True)]
        misses = cached.count(None)
        try:
            with self._admission.enter(cards, terms, misses) if misses else nullcontext():
                computed = await run_concurrently(
                    [
                        self._result(*each, cards, request_id, terms)
                        for each, hit in zip(zip(uploads, digests, strict=True), cached, strict=True)
                        if hit is None
                    ]
                )
        except ServiceError as error:
            self._count(cards, error.code(), misses)
            raise
        if misses < len(cached):
            self._count(cards, "ok", len(cached) - misses)
        new = iter(computed)
        return [next(new) if hit is None else hit for hit in cached]

    async def _digest(self, upload: Upload) -> bytes:
        """Return the digest of the upload; empty if it cannot be cached."""
        if self._response_cache is None or isinstance(upload.content, ServiceError):
            return b""
        return await digest_of(upload.content)

    def _cached(self, upload: Upload, digest: bytes, cards: Sequence[ModelCard], terms: RequestTerms) -> Result | None:
        key = self._cache_key(digest, cards, terms)
        hit = self._response_cache.get(key) if self._response_cache and digest else None
        if hit is None:
            return None
        return replace(hit, upload=upload, digest=digest, cache_outcome="hit")

    def _cache_key(self, digest: bytes, cards: Sequence[ModelCard], terms: RequestTerms) -> Hashable:
        caller = terms.caller if self._response_cache and not self._response_cache.shared else ""
        return (digest, tuple(card.name for card in cards), terms.operation, caller)

    async def _result(
        self, upload: Upload, digest: bytes, cards: Sequence[ModelCard], request_id: str, terms: RequestTerms
    ) -> Result:
        """Return the result of an image that was not cached. Equal images in flight are computed once."""
        begun = asyncio.get_running_loop().time()
        if self._response_cache is None or not digest:
            return await self._compute(upload, cards, request_id, terms)
        deadline = max(terms.deadline(card, begun) for card in cards)
        try:
            result, outcome = await self._response_cache.get_or_compute(
                self._cache_key(digest, cards, terms), deadline, lambda: self._compute(upload, cards, request_id, terms)
            )
        except DeadlineExceeded as error:
            self._count(cards, error.code())
            return Result(upload, error)
        if outcome != "miss":
            self._count(cards, "ok")
        return replace(result, upload=upload, digest=digest, cache_outcome=outcome)

    async def _compute(
        self, upload: Upload, cards: Sequence[ModelCard], request_id: str, terms: RequestTerms
    ) -> Result:
        """Decode an upload and call all models with it."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadlines = [terms.deadline(card, started) for card in cards]
        try:
            with ExitStack() as expected:
                for card in cards:
                    queue = self._queues[queue_name(card, terms.operation)]
                    expected.enter_context(queue.expecting(terms.caller))
                facts, inputs = await self._decode(upload, cards, terms, max(deadlines))
        except ServiceError as error:
            self._count(cards, error.code())
            return Result(upload, error)
        decode_s = loop.time() - started
        for card in cards:
            self._metrics.stages.labels(card.name, "decode").observe(decode_s)
        outputs = await run_concurrently(
            [
                self._predict(card, pixels, deadline, request_id, terms)
                for card, pixels, deadline in zip(cards, inputs, deadlines, strict=True)
            ]
        )
        return Result(upload, facts, tuple(outputs), decode_s)

    async def _decode(
        self, upload: Upload, cards: Sequence[ModelCard], terms: RequestTerms, deadline: float
    ) -> tuple[DecodedFacts, list[Pixels]]:
        if isinstance(upload.content, ServiceError):
            raise upload.content
        return await self._decode_queue.prepare(upload.content, cards, terms, deadline)

    async def _predict(
        self, card: ModelCard, pixels: Pixels, deadline: float, request_id: str, terms: RequestTerms
    ) -> ModelOutput | ServiceError:
        """Return one model's output or error, and count it."""
        try:
            output = await self._queue_and_predict(card, pixels, deadline, request_id, terms)
        except ServiceError as error:
            self._count([card], error.code())
            if isinstance(error, BackendUnavailable):
                self._recheck()
            if isinstance(error, BackendBadResponse | Internal):
                log.error("%s failed request_id=%s code=%s: %s", card.name, request_id, error.code(), error)
            return error
        self._count([card], "ok")
        self._metrics.batch_size.labels(card.name).observe(output.batch)
        self._metrics.stages.labels(card.name, "queue").observe(output.queue_s)
        self._metrics.stages.labels(card.name, "inference").observe(output.inference_s)
        return output

    async def _queue_and_predict(
        self, card: ModelCard, pixels: Pixels, deadline: float, request_id: str, terms: RequestTerms
    ) -> ModelOutput:
        """Return the model's output. Wait in the fair queue for a slot first. Raises `ServiceError`.

        A call that is cancelled while it waits leaves the queue. Once sent to the model, an image keeps its slot until
        the model answers.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()

        async def predict() -> ModelOutput:
            return await self._backend.predict(
                card, pixels, deadline=deadline, request_id=request_id, operation=terms.operation
            )

        try:
            async with asyncio.timeout_at(deadline):
                output = await self._queues[queue_name(card, terms.operation)].run(
                    predict, terms.caller, urgency=terms.urgency
                )
        except TimeoutError:
            raise DeadlineExceeded(f"{card.name} did not answer before the deadline.") from None
        return replace(output, queue_s=max(0.0, loop.time() - started - output.inference_s))

    def _count(self, cards: Sequence[ModelCard], outcome: str, images: int = 1) -> None:
        for card in cards:
            self._metrics.images.labels(card.name, outcome).inc(images)


async def run_concurrently(works: Sequence[Coroutine[Any, Any, Value]]) -> list[Value]:
    """Return what each coroutine returns, in their order. A single one, the usual case, runs without a new task."""
    if len(works) == 1:
        return [await works[0]]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
    return [task.result() for task in tasks]
