"""The parts that the routes work with, put together once per app, inside the event loop."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from service.config.settings import Settings
from service.gateway.access.callers import Authenticator
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.access.rejection_cache import RejectionCache
from service.gateway.backend.torchserve import Backend
from service.gateway.inference.inference import Inference, Result
from service.gateway.inference.readiness import Readiness
from service.gateway.inference.registry import ModelRegistry
from service.gateway.inference.response_cache import ResponseCache
from service.gateway.inference.shadow import ShadowTraffic
from service.gateway.inference.siblings import ALONE, SlotMember
from service.gateway.inference.versions import Shares, Versions
from service.gateway.metrics import Metrics
from service.gateway.scheduling.admission import Admission, BodyBuffer
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.decode_queue import NICE, SMALL_PIXELS, DecodeQueue
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from service.gateway.uploads.threads import ThreadPool
from service.models.cards import ModelCard
from service.tasks.operations import can_answer, cost, lane


class Gateway:
    """One app's parts. Uploads are decoded in processes; what is ours alone is read and written in threads."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        catalogue: ModelRegistry,
        backend: Backend,
        callers: Authenticator,
        limits: RateLimiter,
        shares: Shares | None = None,
        sitting: SlotMember = ALONE,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.catalogue = catalogue
        self.backend = backend
        self.callers = callers
        self.limits = limits
        self.memory = BodyBuffer(settings.max_buffered_bytes)
        self.turns = {name: turns for card in catalogue.cards.values() for name, turns in self._lanes_of(card)}
        self.admission = Admission(settings.max_in_flight, metrics.inference_in_flight, self._outlook)
        self.decoders = _decoders(settings, metrics)
        self.encoders = ThreadPool(settings.encode_threads, "encode")
        self.versions = Versions(catalogue, shares, lambda name: self.readiness.watches[name].answered)
        every = (settings.readiness_interval_s, settings.probe_interval_s)
        self.readiness = Readiness(catalogue.cards.values(), backend, metrics, *every, self.versions.groups, sitting)
        self.inference = Inference(
            backend,
            self.admission,
            self.turns,
            self.decoders,
            metrics,
            self.readiness.doubt,
            _recall(settings, metrics),
        )
        self.repeats = RejectionCache(self._given_back, lambda: self.readiness.draining)
        self.shadows = ShadowTraffic(self.versions.shadow, backend, self.turns, self.decoders, metrics)
        self._watchers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to poll the models and to follow the keys, and start the processes that decode."""
        self.metrics.start_at_zero(self.catalogue.cards)
        for card in self.catalogue.cards.values():
            self.metrics.version(card.name, card.family, card.version, partial(self.versions.share, card))
        work = (self.readiness.run(), self.callers.watch(), self.versions.watch(), self.decoders.warm())
        self._watchers = [asyncio.create_task(each) for each in work]

    async def close(self) -> None:
        """Stop polling, and give back processes, threads and connections."""
        async with AsyncExitStack() as last:  # each, from the last to the first, whatever became of those before
            last.callback(self.encoders.close)
            last.push_async_callback(self.decoders.close)
            last.push_async_callback(self.limits.quotas.close)
            last.push_async_callback(self.backend.close)
            for turns in self.turns.values():
                last.push_async_callback(turns.close)
            last.push_async_callback(self.shadows.close)
            last.push_async_callback(self.readiness.close)
            for watcher in self._watchers:
                watcher.cancel()
            for watcher in self._watchers:
                with suppress(asyncio.CancelledError):
                    await watcher

    def _given_back(self) -> int:
        """What grows with every place that is free again, in the house or at a model server."""
        return self.admission.returned + sum(turns.ended for turns in self.turns.values())

    def _lanes_of(self, card: ModelCard) -> Iterator[tuple[str, FairQueue]]:
        yield card.name, FairQueue(self._places_of(card), shared=True)
        if can_answer(card, "best"):  # one at a time for each worker: it fills a batch by itself
            yield lane(card.name, "best"), FairQueue(partial(self._workers_of, card))

    def _places_of(self, card: ModelCard) -> Callable[[], int]:
        """How many of a model's pictures the model server is given at one time: its workers' batches stay full."""

        def places() -> int:
            return self.settings.batches_in_flight * card.serving.batch_size * self._workers_of(card)

        return places

    def _workers_of(self, card: ModelCard) -> int:
        return max(1, len(self.readiness.watches[card.name].workers.ready))

    def _outlook(self, card: ModelCard, terms: RequestTerms, pictures: int) -> float:
        """In how many seconds so many more pictures would be answered.

        Long work keeps a worker from the rest of it; before the first of it, its pace is guessed from that of the rest.
        """
        short, long = self.turns[card.name], self.turns.get(lane(card.name, "best"))
        if long is None:
            return short.wait_s(terms.caller, pictures)
        if terms.question != "best":
            return short.wait_s(terms.caller, pictures) + long.free_in_s()
        pace_s = long.pace.mean_s or cost(card, "best") * (short.pace.mean_s or 0.0) / self._places_of(card)()
        return max(long.wait_s(terms.caller, pictures), pace_s * math.ceil(pictures / self._workers_of(card)))


def _decoders(settings: Settings, metrics: Metrics) -> DecodeQueue:
    """What decodes. A header that declares less than there is gets no more memory than it declares."""
    small, large = (
        ProcessPool(
            settings.decode_processes,
            ProcessLimits(settings.decode_bytes(most), settings.decode_cpu_s),
            metrics.lost,
            nice,
        )
        for most, nice in ((SMALL_PIXELS, 0), (settings.max_pixels, NICE))
    )
    return DecodeQueue(small, large, settings.image_limits)


def _recall(settings: Settings, metrics: Metrics) -> ResponseCache[Result] | None:
    """What keeps answers, where the settings give it room; callers with names have answers of their own."""
    if not settings.cache_bytes:
        return None
    return ResponseCache(settings.cache_bytes, metrics.recalled, shared=not settings.asks_callers)


async def of(request: Request) -> Gateway:
    """The parts of the app that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(of)]
