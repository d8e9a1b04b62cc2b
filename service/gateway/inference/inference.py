"""Run inference on uploads, without HTTP: look into the response cache, decode, and call the models."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from service.errors import BackendBadResponse, BackendUnavailable, DeadlineExceeded, Internal, ServiceError
from service.gateway.backend.torchserve import Backend
from service.gateway.inference.response_cache import ResponseCache, digest_of
from service.gateway.inference.result import Result
from service.gateway.metrics import CALLER_DEADLINE, Metrics
from service.gateway.scheduling.admission import Admission
from service.gateway.scheduling.background import is_background
from service.gateway.scheduling.model_queue import Expectation, ModelQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.decode_queue import DecodeQueue
from service.gateway.uploads.parsers.image_bodies import Upload
from service.models.cards import ModelCard
from service.tasks import queue_name
from service.tasks.base import ModelOutput
from service.tasks.shared_image import InputImage, release

log = logging.getLogger(__name__)

Value = TypeVar("Value")
Work = Callable[[], Coroutine[Any, Any, Value]]


class Inference:
    """Runs models on images. An image that fails does not affect the other images of its request."""

    def __init__(
        self,
        backend: Backend,
        admission: Admission,
        queues: Mapping[str, ModelQueue],
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

    def forget(self, card: ModelCard) -> None:
        """Remove the cached results of a model that is no longer served."""
        if self._response_cache is not None:
            self._response_cache.remove_if(lambda key: isinstance(key, tuple) and card.server_name in key[1])

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
        if self._response_cache is None:
            works = [partial(self._compute, upload, cards, request_id, terms) for upload in uploads]
            return await self._run_admitted(works, cards, terms)
        digests = await run_concurrently([self._digest(upload) for upload in uploads])
        found = [self._cached(*each, cards, terms) for each in zip(uploads, digests, strict=True)]
        works = [
            partial(self._cached_or_computed, upload, digest, cards, request_id, terms)
            for upload, digest, hit in zip(uploads, digests, found, strict=True)
            if hit is None
        ]
        computed = iter(await self._run_admitted(works, cards, terms) if works else [])
        if len(works) < len(found):
            self._count(cards, "ok", len(found) - len(works))
        return [next(computed) if hit is None else hit for hit in found]

    async def _run_admitted(
        self,
        works: Sequence[Callable[[], Coroutine[Any, Any, Result]]],
        cards: Sequence[ModelCard],
        terms: RequestTerms,
    ) -> list[Result]:
        """Return what each of `works` returns, all of which hold slots until the last ends. Raises `Overloaded`."""
        self._metrics.count_offered([card.name for card in cards], len(works))
        try:
            with self._admission.enter(cards, terms, len(works)):
                return await run_concurrently([work() for work in works])
        except ServiceError as error:
            self._count(cards, error.code(), len(works))
            raise

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
        return (digest, tuple(card.server_name for card in cards), terms.operation, caller)

    async def _cached_or_computed(
        self, upload: Upload, digest: bytes, cards: Sequence[ModelCard], request_id: str, terms: RequestTerms
    ) -> Result:
        """Return the result of an image that was not cached. Equal images in flight are computed once."""
        if self._response_cache is None or not digest:
            return await self._compute(upload, cards, request_id, terms)
        begun = asyncio.get_running_loop().time()
        deadline = max(terms.deadline(card, begun) for card in cards)
        try:
            result, outcome = await self._response_cache.get_or_compute(
                self._cache_key(digest, cards, terms),
                deadline,
                lambda: self._compute(upload, cards, request_id, terms),
                # An interactive request must not wait for background work, which is held back.
                shared_by=is_background(terms.urgency),
            )
        except DeadlineExceeded as error:
            self._count_failure(cards, error, terms)
            return Result(upload, error)
        if outcome != "miss":
            self._count(cards, "ok")
        return replace(result, upload=upload, digest=digest, cache_outcome=outcome)

    async def _compute(
        self, upload: Upload, cards: Sequence[ModelCard], request_id: str, terms: RequestTerms
    ) -> Result:
        """Decode an upload and call all models with it."""
        queues = (self._queues[queue_name(card, terms.operation)] for card in cards)
        expected = [queue.expect(terms.caller, terms.urgency) for queue in queues]
        try:
            return await self._decode_and_predict(upload, cards, expected, request_id, terms)
        finally:
            for each in expected:
                each.queue.expect_no_more(each)

    async def _decode_and_predict(
        self,
        upload: Upload,
        cards: Sequence[ModelCard],
        expected: Sequence[Expectation],
        request_id: str,
        terms: RequestTerms,
    ) -> Result:
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadlines = [terms.deadline(card, started) for card in cards]
        try:
            if isinstance(upload.content, ServiceError):
                raise upload.content
            with self._metrics.tracing.stage("decode"):
                facts, inputs = await self._decode_queue.prepare(upload.content, cards, terms, max(deadlines))
        except ServiceError as error:
            self._count_failure(cards, error, terms)
            return Result(upload, error)
        decode_s = loop.time() - started
        for card in cards:
            self._metrics.stages.labels(card.name, "decode").observe(decode_s)
        try:
            works = zip(cards, inputs, deadlines, expected, strict=True)
            outputs = await run_concurrently([self._predict(*each, request_id, terms) for each in works])
        finally:
            release(inputs)
        return Result(upload, facts, tuple(outputs), decode_s)

    async def _predict(
        self,
        card: ModelCard,
        image: InputImage,
        deadline: float,
        expected: Expectation,
        request_id: str,
        terms: RequestTerms,
    ) -> ModelOutput | ServiceError:
        """Return one model's output or error, and count it. Wait in the fair queue for a slot first.

        A call that is cancelled while it waits leaves the queue. Once sent to the model, an image keeps its slot until
        the model answers.
        """
        predict = partial(
            self._backend.predict, card, image, deadline=deadline, request_id=request_id, operation=terms.operation
        )
        queue = expected.queue
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            with self._metrics.tracing.image(card.name) as spans:
                async with asyncio.timeout_at(deadline):
                    output = await queue.run(
                        spans.bind(predict), terms.caller, urgency=terms.urgency, expected=expected
                    )
        except TimeoutError:
            error: ServiceError = DeadlineExceeded(f"{card.name} did not answer before the deadline.")
            return self._failed(card, request_id, terms, error)
        except ServiceError as error:
            return self._failed(card, request_id, terms, error)
        queue.note_pass(terms.urgency, output.inference_s)
        output = replace(output, queue_s=max(0.0, loop.time() - started - output.inference_s))
        self._metrics.count_success(card.name, output.inference_s, output.batch, is_halved=output.is_halved)
        self._metrics.batch_size.labels(card.name).observe(output.batch)
        self._metrics.stages.labels(card.name, "queue").observe(output.queue_s)
        self._metrics.stages.labels(card.name, "inference").observe(output.inference_s)
        return output

    def _failed(self, card: ModelCard, request_id: str, terms: RequestTerms, error: ServiceError) -> ServiceError:
        """Return the error, once it is counted, logged if it is a bug, and has led to a check of the workers."""
        self._count_failure([card], error, terms)
        if isinstance(error, BackendUnavailable):
            self._recheck()
        if isinstance(error, BackendBadResponse | Internal):
            fields = {"request_id": request_id, "model": card.name, "code": error.code()}
            log.error("%s failed: %s", card.name, error, extra=fields)
        return error

    def _count_failure(self, cards: Sequence[ModelCard], error: ServiceError, terms: RequestTerms) -> None:
        """Count a failure by its code; a deadline that a caller had shortened is not a failure of the service."""
        for card in cards:
            early = isinstance(error, DeadlineExceeded) and terms.ends_early(card)
            self._count([card], CALLER_DEADLINE if early else error.code())

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
