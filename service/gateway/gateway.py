"""The parts that the routes work with, put together once per app, inside the event loop."""

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, Request

from service.gateway.admission import Admission, Memory
from service.gateway.backend import Backend
from service.gateway.catalogue import Catalogue
from service.gateway.decoding import Pool
from service.gateway.inference import Inference
from service.gateway.metrics import Metrics
from service.gateway.readiness import Readiness
from service.gateway.settings import Settings


class Gateway:
    """One app's parts. Encoding has its own threads, so that answers never queue behind new pictures."""

    def __init__(self, settings: Settings, metrics: Metrics, catalogue: Catalogue, backend: Backend) -> None:
        self.settings = settings
        self.metrics = metrics
        self.catalogue = catalogue
        self.backend = backend
        self.memory = Memory(settings.max_buffered_bytes)
        self.admission = Admission(settings.max_in_flight, metrics.inference_in_flight)
        self.decoders = Pool(settings.decode_threads, "decode")
        self.encoders = Pool(settings.decode_threads, "encode")
        self.readiness = Readiness(
            catalogue.cards.values(), backend, metrics, settings.readiness_interval_s, settings.canary_interval_s
        )
        self.inference = Inference(
            backend, self.admission, settings.image_limits, self.decoders, metrics, self.readiness.doubt
        )
        self._poller: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to poll the models."""
        self.metrics.start_at_zero(self.catalogue.cards)
        self._poller = asyncio.create_task(self.readiness.run())

    async def close(self) -> None:
        """Stop polling, and give back threads and connections."""
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller
        await self.readiness.close()
        await self.backend.close()
        self.decoders.close()
        self.encoders.close()


async def of(request: Request) -> Gateway:
    """The parts of the app that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway


GatewayDep = Annotated[Gateway, Depends(of)]
