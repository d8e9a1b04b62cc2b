"""Whether every model could answer now: its workers by the management door, and a real answer to a test picture.

TorchServe's own /ping says 200 with no model loaded, so it is never asked.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image

from service.errors import BackendUnavailable, DeadlineExceeded, Draining, Overloaded, ServiceError
from service.gateway.backend.circuit_breaker import STATES
from service.gateway.backend.torchserve import Backend, Workers
from service.gateway.metrics import Metrics
from service.host.gateway_slots import SINGLE_PROCESS, SharedReadiness
from service.imaging import preprocess
from service.models.cards import ModelCard
from service.models.inputs import Input
from service.tasks.base import Pixels

log = logging.getLogger(__name__)

State = Literal["ready", "loading", "unavailable"]

CANARY = "canary"
CANARY_SIDE = 256  # pixels: on a CPU a whole street scene would keep a worker busy for half a minute


@dataclass
class ModelWatch:
    """What is known of one model: its workers, those that were ready when it answered the test picture last, and how
    much memory the one had that answered.
    """

    card: ModelCard
    canary: Pixels
    workers: Workers
    witnesses: frozenset[Hashable] = frozenset()
    tried: frozenset[Hashable] = frozenset()
    answered_at: float = float("-inf")
    worker_bytes: int | None = None
    was_ready: bool = False
    told_ready: bool = False
    running: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def answered(self) -> bool:
        """Whether a worker that is still ready was there when the test picture was answered."""
        return bool(self.witnesses & self.workers.ready)

    @property
    def state(self) -> State:
        """`loading` until it is ready for the first time, `unavailable` when it no longer is."""
        if self.answered:
            return "ready"
        return "unavailable" if self.was_ready else "loading"


class Readiness:
    """Polls the models; `ready` may change with every poll, and with `draining`."""

    def __init__(
        self,
        cards: Iterable[ModelCard],
        backend: Backend,
        metrics: Metrics,
        interval_s: float,
        probe_interval_s: float,
        groups: Callable[[], Mapping[str, Sequence[str]]] | None = None,
        shared_readiness: SharedReadiness = SINGLE_PROCESS,
    ) -> None:
        """`groups` are the models that stand in for each other, by a name for them; without it each stands alone."""
        self.watches = {card.name: _watch(card) for card in cards}
        self.draining = False
        self._backend = backend
        self._metrics = metrics
        self._interval_s = interval_s
        self._canary_interval_s = probe_interval_s
        self._groups = groups or (lambda: {name: [name] for name in self.watches})
        self._doubt = asyncio.Event()
        self._shared_readiness = shared_readiness
        self._was_ready = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether every model, or a stand-in, is ready, other processes say so, and this one is not about to end."""
        return not self.draining and not self._waiting() and self._shared_readiness.all_ready

    def state(self, model: str) -> State:
        """The state of one model."""
        return self.watches[model].state

    def details(self) -> dict[str, dict[str, Any]]:
        """A `schemas.ModelReadiness` for each model."""
        return {
            name: {
                "state": watch.state,
                "workers_ready": len(watch.workers.ready),
                "workers_configured": watch.workers.configured,
                "answered": watch.answered,
                "circuits": dict(watch.workers.circuits),
            }
            for name, watch in self.watches.items()
        }

    def problem(self) -> ServiceError:
        """Why it is not ready."""
        if self.draining:
            return Draining("This instance is shutting down.", models=self.details())
        waiting = self._waiting() or ["another gateway process"]
        return BackendUnavailable(f"Not ready: {', '.join(waiting)}.", models=self.details())

    def drain(self) -> None:
        """Be not ready from now on: the process is about to end."""
        self.draining = True
        self._shared_readiness.leave()
        self._metrics.ready.set(0)

    async def settle_in(self, timeout_s: float) -> None:
        """Wait until every model was ready once, so long at most: before, nobody is kept waiting for this process."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._was_ready.wait(), timeout_s)
        self._shared_readiness.finish_start()

    def doubt(self) -> None:
        """Look at the workers at once: a request just failed for the lack of them."""
        self._doubt.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.poll()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):  # wait_for of Python 3.11 may swallow a cancellation
                    await self._doubt.wait()
            self._doubt.clear()

    async def poll(self) -> None:
        """Look at the workers of every model once, and send test pictures where they are due."""
        await asyncio.gather(*(self._look(watch) for watch in self.watches.values()))
        for watch in self.watches.values():
            self._start_canary(watch)
        self._tell()

    async def settle(self) -> None:
        """Wait for the test pictures that are under way."""
        await asyncio.gather(*(watch.running for watch in self.watches.values() if watch.running is not None))

    async def close(self) -> None:
        """Stop the test pictures that are under way."""
        for watch in self.watches.values():
            if watch.running is not None:
                watch.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.settle()

    def answers(self, names: Iterable[str]) -> bool:
        """Whether one of these models would answer."""
        return any(self.watches[name].answered for name in names)

    def _waiting(self) -> list[str]:
        return [name for name, members in self._groups().items() if not self.answers(members)]

    async def _look(self, watch: ModelWatch) -> None:
        try:
            watch.workers = await self._backend.workers(watch.card)
        except ServiceError:
            watch.workers = Workers(frozenset(), watch.workers.configured)
        except Exception:  # a defect of ours must not end the watch, and readiness with it stay as it was
            log.exception("the workers of %s could not be looked at", watch.card.name)
            watch.workers = Workers(frozenset(), watch.workers.configured)

    def _start_canary(self, watch: ModelWatch) -> None:
        ready = watch.workers.ready
        old = asyncio.get_running_loop().time() - watch.answered_at > self._canary_interval_s
        due = old or ready != watch.tried or not watch.answered
        if ready and due and (watch.running is None or watch.running.done()):
            watch.tried = ready
            watch.running = asyncio.create_task(self._ask(watch, ready))

    async def _ask(self, watch: ModelWatch, ready: frozenset[Hashable]) -> None:
        """Send the test picture; a full queue or a late answer says nothing against the workers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + watch.card.serving.deadline_s
        try:
            answer = await self._backend.predict(watch.card, watch.canary, deadline=deadline, request_id=CANARY)
        except (Overloaded, DeadlineExceeded):
            watch.tried = frozenset()
        except ServiceError as error:
            watch.witnesses = frozenset()
            log.warning("%s does not answer its test picture: %s", watch.card.name, error)
        else:
            watch.witnesses = ready
            watch.answered_at = loop.time()
            watch.worker_bytes = answer.worker_bytes
        self._tell()

    def _tell(self) -> None:
        for name, watch in self.watches.items():
            self._metrics.workers_ready.labels(name).set(len(watch.workers.ready))
            self._metrics.workers_configured.labels(name).set(watch.workers.configured)
            for state in STATES:
                self._metrics.circuit_breakers.labels(name, state).set(watch.workers.circuits.get(state, 0))
            watch.was_ready = watch.was_ready or watch.answered
            if watch.answered != watch.told_ready:
                watch.told_ready = watch.answered
                log.log(logging.INFO if watch.answered else logging.WARNING, "%s is %s", name, watch.state)
        would_answer = not self._waiting()
        if would_answer:
            self._was_ready.set()
        if not self.draining:
            self._shared_readiness.report(ready=would_answer)
        self._metrics.ready.set(self.ready)


def _watch(card: ModelCard) -> ModelWatch:
    return ModelWatch(card, _canary(card.input), Workers(frozenset(), card.serving.workers))


def _canary(spec: Input) -> Pixels:
    """A picture of slopes, the same each time, as the network takes it; small for a segmenter, which takes any."""
    if spec.profile == "proportional":
        spec = spec.model_copy(update={"size": min(spec.square, CANARY_SIDE)})
    slope = Image.linear_gradient("L")
    picture = Image.merge("RGB", (slope, slope.rotate(90), Image.radial_gradient("L")))
    return preprocess.prepare(spec, picture)
