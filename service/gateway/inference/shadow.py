"""Shadow traffic: a version that answers nobody is shown pictures that another one has answered, and compared with it.

It begins after the answer was sent, only where neither version has a picture waiting and a place is free, and nobody
waits for it: what has no room is dropped and counted, and so is what fails.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from service.errors import ServiceError
from service.gateway.backend.torchserve import Backend
from service.gateway.inference.inference import Result
from service.gateway.metrics import Metrics
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.decode_queue import DecodeQueue
from service.models.cards import ModelCard
from service.tasks import PREDICT, queue_name, task_of
from service.tasks.base import ModelOutput, Pixels

log = logging.getLogger(__name__)

CALLER = " shadow"  # no key's name has a space
LEAST_URGENT = 7  # RFC 9218, section 4.1
MOST = 8  # at one time over all models: each may hold an upload

Shown = Callable[[ModelCard], tuple[ModelCard, float] | None]


@dataclass(frozen=True)
class Copy:
    """A picture that was answered: its bytes, and by whom with what."""

    content: bytes
    card: ModelCard
    answer: ModelOutput


class ShadowTraffic:
    """Shows pictures to shadows, and counts how often these agree with what was answered."""

    def __init__(
        self,
        shown: Shown,
        backend: Backend,
        turns: Mapping[str, FairQueue],
        decoders: DecodeQueue,
        metrics: Metrics,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`shown` says which version is shown a version's pictures, and the share of them, if any."""
        self._shown = shown
        self._backend = backend
        self._turns = turns
        self._decoders = decoders
        self._metrics = metrics
        self._chance = chance
        self._running: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """How many pictures are being shown."""
        return len(self._running)

    def copies(self, cards: Sequence[ModelCard], results: Sequence[Result], terms: RequestTerms) -> list[Copy]:
        """What of a request is to be shown; nothing of what was found among the kept answers."""
        if terms.operation != PREDICT:
            return []
        return [
            Copy(result.upload.content, card, answer)
            for place, card in enumerate(cards)
            if (shown := self._shown(card)) is not None
            for result in results
            if result.how == "miss" and isinstance(result.upload.content, bytes) and len(result.answers) > place
            if isinstance(answer := result.answers[place], ModelOutput) and self._chance() < shown[1]
        ]

    def begin(self, copies: Sequence[Copy], request_id: str) -> None:
        """Show what there is room for; the answers must have been sent."""
        for copy in copies:
            found = self._shown(copy.card)
            if found is None:
                continue  # the shares have changed meanwhile
            card = found[0]
            if not self._has_room(copy.content, copy.card, card):
                self._count(card, "dropped")
                continue
            task = asyncio.create_task(self._show(copy, card, request_id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _has_room(self, upload: bytes, *cards: ModelCard) -> bool:
        lanes = [self._turns[queue_name(card, PREDICT)] for card in cards]
        return self.under_way < MOST and self._decoders.has_room_for(upload) and all(turns.is_quiet for turns in lanes)

    async def _show(self, copy: Copy, card: ModelCard, request_id: str) -> None:
        try:
            answer = await self._asked(copy.content, card, request_id)
            agreed = await asyncio.to_thread(
                task_of(card).agreement, copy.card, copy.answer.arrays, card, answer.arrays
            )
        except (ServiceError, TimeoutError):
            self._count(card, "failed")
        except Exception:  # a defect of ours; the answer it is about was sent long ago
            log.exception("the shadow %s failed request_id=%s", card.name, request_id)
            self._count(card, "failed")
        else:
            self._metrics.stages.labels(card.name, "inference").observe(answer.inference_s)
            self._metrics.shadow_agreement.labels(card.family, card.version).inc(agreed)
            self._count(card, "compared")

    async def _asked(self, content: bytes, card: ModelCard, request_id: str) -> ModelOutput:
        deadline = asyncio.get_running_loop().time() + card.serving.deadline_s
        terms = RequestTerms(CALLER, LEAST_URGENT, deadline)
        _, (pixels,) = await self._decoders.prepare(content, [card], terms, deadline)

        async def ask(picture: Pixels = pixels) -> ModelOutput:
            return await self._backend.predict(card, picture, deadline=deadline, request_id=request_id)

        async with asyncio.timeout_at(deadline):
            return await self._turns[queue_name(card, PREDICT)].run(ask, CALLER, urgency=LEAST_URGENT)

    def _count(self, card: ModelCard, outcome: str) -> None:
        self._metrics.shadow_images.labels(card.family, card.version, outcome).inc()
