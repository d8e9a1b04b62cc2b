"""Build the objects that the routes use, once per app, inside the event loop."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request

from service.config.settings import Settings
from service.gateway.access.callers import Authenticator
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.access.rejection_cache import RejectionCache
from service.gateway.backend.torchserve import Backend
from service.gateway.inference.inference import Inference
from service.gateway.inference.model_watch import ModelWatch
from service.gateway.inference.models_in_use import ModelsInUse
from service.gateway.inference.readiness import Readiness
from service.gateway.inference.registry import ModelRegistry
from service.gateway.inference.response_cache import ResponseCache
from service.gateway.inference.result import Result
from service.gateway.inference.shadow import ShadowTraffic
from service.gateway.inference.versions import Shares, Versions
from service.gateway.metrics import Metrics, Transport
from service.gateway.scheduling.admission import Admission, BodyBuffer
from service.gateway.scheduling.background import BackgroundLimit
from service.gateway.scheduling.model_queue import ModelQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.arena import Arena
from service.gateway.uploads.decode_queue import NICE, SMALL_PIXELS, DecodeQueue
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from service.gateway.uploads.threads import ThreadPool
from service.host.gateway_slots import SINGLE_PROCESS, SharedReadiness
from service.models.cards import ModelCard
from service.tasks import operation_of, own_queue_operations, queue_name


class Components:
    """The composition root of one app.

    Uploads are decoded in processes, because an image may crash its decoder. Data that the service makes itself is read
    and written in threads.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        registry: ModelRegistry,
        backend: Backend,
        authenticator: Authenticator,
        rate_limiter: RateLimiter,
        shares: Shares | None = None,
        shared_readiness: SharedReadiness = SINGLE_PROCESS,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.registry = registry
        self.backend = backend
        self.authenticator = authenticator
        self.rate_limiter = rate_limiter
        self.body_buffer = BodyBuffer(settings.max_buffered_bytes)
        self.queues = {name: queue for card in registry.cards.values() for name, queue in self._queues_of(card)}
        self._long_queues = {card.server_name: self._long_queues_of(card) for card in registry.cards.values()}
        self.in_use = ModelsInUse()
        self.admission = Admission(settings.max_in_flight, metrics.inference_in_flight, self._estimate_wait)
        self.arena = Arena(settings.shared_memory_dir, settings.shared_memory_bytes, metrics.shared_memory_bytes.set)
        self.decode_queue = _decode_queue(settings, metrics, self.arena, backend.shares_memory)
        self.encoders = ThreadPool(settings.encode_threads, "encode")
        self.versions = Versions(registry, shares, lambda name: self.readiness.watches[name].answered)
        self.readiness = self._readiness(shared_readiness)
        self.inference = Inference(
            backend,
            self.admission,
            self.queues,
            self.decode_queue,
            metrics,
            self.readiness.recheck,
            _response_cache(settings, metrics),
        )
        self.rejections = RejectionCache(self._slots_released, lambda: self.readiness.draining)
        shown = (self.queues, self.decode_queue, metrics, self.in_use)
        self.shadows = ShadowTraffic(self.versions.shadow, backend, *shown)
        self._watchers: list[asyncio.Task[None]] = []

    def _readiness(self, shared: SharedReadiness) -> Readiness:
        settings, cards = self.settings, self.registry.cards.values()
        intervals = (settings.readiness_interval_s, settings.probe_interval_s)
        readiness = Readiness(
            cards, self.backend, self.metrics, *intervals, self.versions.groups, shared, settings.ready
        )
        readiness.decode_failure = self.decode_queue.failure
        return readiness

    def start(self, *others: Coroutine[Any, Any, None]) -> None:
        """Start to poll the models and to watch the key and traffic files, and start the decode processes.

        `others` run until the end too.
        """
        self.metrics.start_at_zero()
        self.metrics.set_limits(self.settings)
        self.metrics.serve(self.registry.cards.values(), self.versions.share)
        self.arena.open()
        decoders = self.decode_queue.keep_started()
        work = (self.readiness.run(), self.authenticator.watch(), self.versions.watch(), decoders, *others)
        self._watchers = [asyncio.create_task(each) for each in work]

    async def close(self) -> None:
        """Stop the background tasks, and close the processes, threads and connections."""
        async with AsyncExitStack() as stack:  # every one is closed, last to first, even if another fails
            stack.callback(self.arena.close)  # after the processes that write to it
            stack.callback(self.encoders.close)
            stack.push_async_callback(self.decode_queue.close)
            stack.push_async_callback(self.rate_limiter.buckets.close)
            stack.push_async_callback(self.backend.close)
            for queue in self.queues.values():
                stack.push_async_callback(queue.close)
            stack.push_async_callback(self.shadows.close)
            stack.push_async_callback(self.readiness.close)
            for watcher in self._watchers:
                watcher.cancel()
            for watcher in self._watchers:
                with suppress(asyncio.CancelledError):
                    await watcher

    def prepare(self, card: ModelCard) -> ModelWatch:
        """Make ready to serve a model, which no caller sees yet. Return what is known of it."""
        self.queues.update(self._queues_of(card))
        self._long_queues[card.server_name] = self._long_queues_of(card)
        return self.readiness.watch(card)

    def serve(self, cards: Sequence[ModelCard]) -> None:
        """Serve these models from now on, under the names that they have now. All of them were prepared.

        Requests that have chosen another model end there. Raises `CardError` as `ModelRegistry.replace` does.
        """
        self.registry.replace(cards)
        self.versions.follow_registry()
        self.metrics.serve(cards, self.versions.share)
        self.readiness.serve(cards)

    async def forget(self, card: ModelCard) -> None:
        """Free what a model used that is no longer served. What still runs for it is cancelled."""
        for name in [name for name in self.queues if name.partition(" ")[0] == card.server_name]:
            await self.queues.pop(name).close()
        del self._long_queues[card.server_name]
        self.readiness.forget(card)
        await self.backend.forget(card)
        for part in (self.inference, self.registry, self.in_use):
            part.forget(card)

    def transport(self, card: ModelCard) -> Transport:
        """Return how images of a model reach its workers."""
        return "shared_memory" if self.arena.is_open and self.backend.shares_memory(card) else "bytes"

    def _slots_released(self) -> int:
        """Return a number that grows whenever a slot is released, by admission control or by a model's queue."""
        return self.admission.released + sum(queue.ended for queue in self.queues.values())

    def _queues_of(self, card: ModelCard) -> Iterator[tuple[str, ModelQueue]]:
        slots, workers = self._slots_of(card), partial(self._workers_of, card)
        background = BackgroundLimit(workers, slots)  # the same workers work for all queues
        yield card.server_name, ModelQueue(slots, shared=True, background=background)
        for operation in own_queue_operations(card):  # one image per worker: its passes fill a batch by themselves
            yield queue_name(card, operation.name), ModelQueue(workers, background=background)

    def _long_queues_of(self, card: ModelCard) -> list[ModelQueue]:
        return [self.queues[queue_name(card, operation.name)] for operation in own_queue_operations(card)]

    def _slots_of(self, card: ModelCard) -> Callable[[], int]:
        """Return a function for the images that a model server gets at one time, enough to keep its batches full."""

        of_worker = self.settings.batches_in_flight * card.serving.batch_size

        def slots() -> int:
            return of_worker * self._workers_of(card)

        return slots

    def _workers_of(self, card: ModelCard) -> int:
        return len(self.readiness.watches[card.server_name].workers.ready) or 1

    def _estimate_wait(self, card: ModelCard, terms: RequestTerms, images: int) -> float:
        """Return the seconds until a model would have answered so many more images of a caller.

        Long work occupies a worker that short work waits for. Until the first long work has ended, its service time is
        estimated from that of short work.
        """
        operation, short = operation_of(card, terms.operation), self.queues[card.server_name]
        if not operation.has_own_queue:
            wait_s = short.wait_s(terms.caller, images, terms.urgency)
            for long in self._long_queues[card.server_name]:
                wait_s += long.free_in_s()
            return wait_s
        queue = self.queues[queue_name(card, terms.operation)]
        service_s = queue.service_time.mean_s
        if not service_s:
            service_s = operation.cost(card) * (short.service_time.mean_s or 0.0) / self._slots_of(card)()
        service_s *= math.ceil(images / self._workers_of(card))
        return max(queue.wait_s(terms.caller, images, terms.urgency), service_s)


def _decode_queue(
    settings: Settings, metrics: Metrics, arena: Arena, shares_memory: Callable[[ModelCard], bool]
) -> DecodeQueue:
    """Return the decode queue with its two process pools.

    The memory limit of each pool fits the largest image that the pool takes. So an image whose header declares fewer
    pixels than the file has gets no more memory than it declared.
    """
    small, large = (
        ProcessPool(
            settings.decode_processes,
            ProcessLimits(settings.decode_bytes(max_pixels), settings.decode_cpu_s),
            metrics.count_lost_process,
            nice,
        )
        for max_pixels, nice in ((SMALL_PIXELS, 0), (settings.max_pixels, NICE))
    )
    return DecodeQueue(small, large, settings.image_limits, arena, shares_memory)


def _response_cache(settings: Settings, metrics: Metrics) -> ResponseCache[Result] | None:
    """Return the response cache, or None if it is off. Authenticated callers do not share entries."""
    if not settings.cache_bytes:
        return None
    return ResponseCache(settings.cache_bytes, metrics.count_cache_lookup, shared=not settings.authenticates_callers)


async def components_of(request: Request) -> Components:
    """Return the components of the app that serves this request."""
    components: Components = request.app.state.components
    return components


ComponentsDep = Annotated[Components, Depends(components_of)]
