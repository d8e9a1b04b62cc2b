"""Shadow traffic: another version of the model also receives images that were answered, only to compare its outputs.

A comparison starts after the response was sent, and only if neither version has waiting images and slots are free.
Otherwise the image is dropped. No caller waits for shadow traffic; drops and failures are counted.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from service.errors import ServiceError
from service.gateway.backend.torchserve import Backend
from service.gateway.inference.models_in_use import ModelsInUse
from service.gateway.inference.result import Result
from service.gateway.metrics import Metrics
from service.gateway.scheduling.background import BACKGROUND
from service.gateway.scheduling.model_queue import ModelQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.decode_queue import DecodeQueue
from service.models.cards import ModelCard
from service.tasks import PREDICT, queue_name, task_of
from service.tasks.base import ModelOutput
from service.tasks.shared_image import release

log = logging.getLogger(__name__)

CALLER = " shadow"  # no API key has a name with a space
MAX_IN_FLIGHT = 8  # over all models, because each holds an upload in memory

TargetOf = Callable[[ModelCard], tuple[ModelCard, float] | None]


@dataclass(frozen=True)
class ShadowCopy:
    """An image that was answered: its upload, the model that answered it, and the output."""

    content: bytes
    card: ModelCard
    output: ModelOutput


class ShadowTraffic:
    """Sends images to shadow versions, and counts how often their outputs agree with those that were returned."""

    def __init__(
        self,
        target_of: TargetOf,
        backend: Backend,
        queues: Mapping[str, ModelQueue],
        decode_queue: DecodeQueue,
        metrics: Metrics,
        in_use: ModelsInUse,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Send a version's images to the version that `target_of` returns, with the share of the images, 0 to 1.

        `in_use` counts the images as users of the version. `chance` returns random numbers from 0 to 1.
        """
        self._target_of = target_of
        self._backend = backend
        self._queues = queues
        self._decode_queue = decode_queue
        self._metrics = metrics
        self._in_use = in_use
        self._chance = chance
        self._running: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """The number of images that are being compared."""
        return len(self._running)

    def select(self, cards: Sequence[ModelCard], results: Sequence[Result], terms: RequestTerms) -> list[ShadowCopy]:
        """Return the images of a request to compare: a random share, without cached results."""
        if terms.operation != PREDICT:
            return []
        return [
            ShadowCopy(result.upload.content, card, output)
            for index, card in enumerate(cards)
            if (target := self._target_of(card)) is not None
            for result in results
            if result.cache_outcome == "miss"
            if isinstance(result.upload.content, bytes) and len(result.outputs) > index
            if isinstance(output := result.outputs[index], ModelOutput) and self._chance() < target[1]
        ]

    def start(self, copies: Sequence[ShadowCopy], request_id: str) -> None:
        """Start the comparisons for which there is capacity. The response must have been sent."""
        for copy in copies:
            target = self._target_of(copy.card)
            if target is None:
                continue  # the traffic file has changed meanwhile
            card = target[0]
            if not self._has_room(copy.card, card):
                self._count(card, "dropped")
                continue
            task = asyncio.create_task(self._compare(copy, card, request_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Cancel the comparisons in flight."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _has_room(self, *cards: ModelCard) -> bool:
        queues = [self._queues.get(queue_name(card, PREDICT)) for card in cards]  # none of a model that was removed
        has_capacity = self.in_flight < MAX_IN_FLIGHT and self._decode_queue.has_room_for_background
        return has_capacity and all(queue is not None and queue.is_quiet for queue in queues)

    async def _compare(self, copy: ShadowCopy, card: ModelCard, request_id: str) -> None:
        try:
            with self._in_use.hold([card]):
                output = await self._predict(copy.content, card, request_id)
            agreement = await asyncio.to_thread(
                task_of(card).agreement, copy.card, copy.output.arrays, card, output.arrays
            )
        except (ServiceError, TimeoutError):
            self._count(card, "failed")
        except Exception:  # a bug; the response was sent long ago
            log.exception("shadow traffic to %s failed request_id=%s", card.name, request_id)
            self._count(card, "failed")
        else:
            self._metrics.stages.labels(card.name, "inference").observe(output.inference_s)
            self._metrics.shadow_agreement.labels(card.family, card.version).inc(agreement)
            self._count(card, "compared")

    async def _predict(self, content: bytes, card: ModelCard, request_id: str) -> ModelOutput:
        deadline = asyncio.get_running_loop().time() + card.serving.deadline_s
        terms = RequestTerms(CALLER, BACKGROUND, deadline)
        _, inputs = await self._decode_queue.prepare(content, [card], terms, deadline)

        async def predict() -> ModelOutput:
            return await self._backend.predict(card, inputs[0], deadline=deadline, request_id=request_id)

        try:
            async with asyncio.timeout_at(deadline):
                return await self._queues[queue_name(card, PREDICT)].run(predict, CALLER, urgency=BACKGROUND)
        finally:
            release(inputs)

    def _count(self, card: ModelCard, outcome: str) -> None:
        self._metrics.shadow_images.labels(card.family, card.version, outcome).inc()
