"""Readiness of the models: a model is ready if it has a READY worker, and a worker has answered a probe.

A probe is a test image that is sent through the model. TorchServe's own /ping is not used: it returns 200 even if no
model is loaded.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    DecodersUnavailable,
    Draining,
    ModelRefused,
    Overloaded,
    ServiceError,
)
from service.gateway.backend.circuit_breaker import STATES
from service.gateway.backend.torchserve import Backend, Workers
from service.gateway.inference.model_watch import ModelWatch, State, watch_of
from service.gateway.metrics import Metrics
from service.host.gateway_slots import SINGLE_PROCESS, SharedReadiness
from service.models.cards import ModelCard

log = logging.getLogger(__name__)

Requirement = Literal["any", "all"]

PROBE_ID = "probe"  # the request id of probes


class Readiness:
    """Polls the models. `ready` may change with every poll and with `draining`."""

    def __init__(
        self,
        cards: Iterable[ModelCard],
        backend: Backend,
        metrics: Metrics,
        interval_s: float,
        probe_interval_s: float,
        groups: Callable[[], Mapping[str, Sequence[str]]] | None = None,
        shared_readiness: SharedReadiness = SINGLE_PROCESS,
        require: Requirement = "any",
    ) -> None:
        """Poll every `interval_s` seconds, and probe a ready model every `probe_interval_s` seconds.

        `require` says how many models must be ready for the instance to be. With `all`, one failing model takes the
        others out of service, because a load balancer sends an unready instance nothing.

        `groups` returns the server names of the models that can replace each other, by the name of the group. Without
        it, each model is a group of its own.
        """
        self.watches = {card.server_name: watch_of(card) for card in cards}
        self.draining = False
        self._backend = backend
        self._metrics = metrics
        self._interval_s = interval_s
        self._probe_interval_s = probe_interval_s
        self._groups = groups or (lambda: {watch.card.name: [name] for name, watch in self._served()})
        self._recheck = asyncio.Event()
        self._shared_readiness = shared_readiness
        self._was_ready = asyncio.Event()
        self._require = require
        self.decode_failure: Callable[[], str | None] = lambda: None  # returns why no image can be decoded

    @property
    def ready(self) -> bool:
        """Whether this instance should get requests: `is_ready` with the configured requirement."""
        return self.is_ready(self._require)

    def is_ready(self, require: Requirement) -> bool:
        """Return whether any group or all groups have a ready model, and this process is not draining.

        All other gateway processes must be ready too.
        """
        return not self.draining and self._can_answer(require) and self._shared_readiness.all_ready

    def state(self, server_name: str) -> State:
        """Return the state of one model."""
        return self.watches[server_name].state

    def details(self) -> dict[str, dict[str, Any]]:
        """Return a `schemas.ModelReadiness` for each model."""
        return {
            watch.card.name: {
                "state": watch.state,
                "workers_ready": len(watch.workers.ready),
                "workers_configured": watch.workers.configured,
                "answered": watch.answered,
                "circuits": dict(watch.workers.circuits),
            }
            for _, watch in self._served()
        }

    def problem(self) -> ServiceError:
        """Return the reason why this instance is not ready."""
        if self.draining:
            return Draining("This instance is shutting down.", models=self.details())
        if failure := self.decode_failure():
            return DecodersUnavailable(failure, models=self.details())
        unready = self._unready_groups() or ["another gateway process"]
        return BackendUnavailable(f"Not ready: {', '.join(unready)}.", models=self.details())

    def check_loaded(self, cards: Iterable[ModelCard]) -> None:
        """Raise `ModelRefused` if the model servers have left one of these models out."""
        for card in cards:
            if self.watches[card.server_name].state == "refused":
                raise ModelRefused(f"The model server has left {card.name} out: it failed its check at the start.")

    def drain(self) -> None:
        """Be unready from now on, because the process is about to end."""
        self.draining = True
        self._shared_readiness.leave()
        self._metrics.ready.set(0)

    async def finish_start(self, timeout_s: float) -> None:
        """Wait until every model was ready once, at most `timeout_s` seconds.

        Until then a replacement process does not make the whole instance unready.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._was_ready.wait(), timeout_s)
        self._shared_readiness.finish_start()

    def recheck(self) -> None:
        """Poll the workers now, because a request failed for lack of a ready worker."""
        self._recheck.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.poll()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):  # wait_for of Python 3.11 may swallow a cancellation
                    await self._recheck.wait()
            self._recheck.clear()

    async def poll(self) -> None:
        """Check the workers of every model once, and start the probes that are due."""
        await asyncio.gather(*(self._check_workers(watch) for watch in self.watches.values()))
        for watch in self.watches.values():
            self._start_probe(watch)
        self._report()

    def watch(self, card: ModelCard) -> ModelWatch:
        """Watch a model that is about to be served, and check it at once. Return what is known of it."""
        if card.server_name not in self.watches:
            self.watches[card.server_name] = watch_of(card, is_served=False)
            self.recheck()
        return self.watches[card.server_name]

    def serve(self, cards: Iterable[ModelCard]) -> None:
        """Report these models from now on, in this order and under these names. All of them are watched."""
        served = {card.server_name: card for card in cards}
        others = {name: watch for name, watch in self.watches.items() if name not in served}
        self.watches = {name: self.watches[name] for name in served} | others
        for name, watch in self.watches.items():
            watch.is_served = name in served
            watch.card = served.get(name, watch.card)
        self._report()

    def forget(self, card: ModelCard) -> None:
        """Stop to watch a model."""
        watch = self.watches.pop(card.server_name)
        if watch.probe is not None:
            watch.probe.cancel()

    async def wait_for_probes(self) -> None:
        """Wait until no probe is in flight."""
        await asyncio.gather(*(watch.probe for watch in self.watches.values() if watch.probe is not None))

    async def close(self) -> None:
        """Cancel the probes in flight."""
        for watch in self.watches.values():
            if watch.probe is not None:
                watch.probe.cancel()
        with suppress(asyncio.CancelledError):
            await self.wait_for_probes()

    def any_ready(self, names: Iterable[str]) -> bool:
        """Return whether one of these models, by the names that the model server has for them, is ready."""
        return any(self.watches[name].answered for name in names)

    def _served(self) -> list[tuple[str, ModelWatch]]:
        return [(name, watch) for name, watch in self.watches.items() if watch.is_served]

    def _unready_groups(self) -> list[str]:
        return [name for name, members in self._groups().items() if not self.any_ready(members)]

    def _can_answer(self, require: Requirement) -> bool:
        return self.decode_failure() is None and self._has_ready_groups(require)

    def _has_ready_groups(self, require: Requirement) -> bool:
        unready = len(self._unready_groups())
        return unready == 0 if require == "all" else unready < len(self._groups())

    async def _check_workers(self, watch: ModelWatch) -> None:
        try:
            watch.workers = await self._backend.workers(watch.card)
        except ServiceError:
            watch.workers = Workers(frozenset(), watch.workers.configured)
        except Exception:  # a bug must not end the polling: readiness would keep its last value forever
            log.exception("could not check the workers of %s", watch.card.name)
            watch.workers = Workers(frozenset(), watch.workers.configured)

    def _start_probe(self, watch: ModelWatch) -> None:
        ready = watch.workers.ready
        is_old = asyncio.get_running_loop().time() - watch.answered_at > self._probe_interval_s
        is_due = is_old or ready != watch.probed or not watch.answered
        if ready and is_due and (watch.probe is None or watch.probe.done()):
            watch.probed = ready
            watch.probe = asyncio.create_task(self._probe(watch, ready))

    async def _probe(self, watch: ModelWatch, ready: frozenset[Hashable]) -> None:
        """Send the probe. A full queue or a late answer is no evidence against the workers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + watch.card.serving.deadline_s
        try:
            output = await self._backend.predict(watch.card, watch.probe_image, deadline=deadline, request_id=PROBE_ID)
        except (Overloaded, DeadlineExceeded) as error:
            watch.probed, watch.failure = frozenset(), str(error)
        except ServiceError as error:
            watch.confirmed, watch.failure = frozenset(), str(error)
            log.warning("%s failed a probe: %s", watch.card.name, error)
        else:
            watch.confirmed = ready
            watch.answered_at = loop.time()
            watch.worker_bytes = output.worker_bytes
            watch.runtime = output.runtime
        self._report()

    def _report(self) -> None:
        """Write the current state to the metrics, to the log, and to the other gateway processes."""
        for watch in (watch for _, watch in self._served()):
            name = watch.card.name
            self._metrics.workers_ready.labels(name).set(len(watch.workers.ready))
            self._metrics.model_refused.labels(name).set(watch.state == "refused")
            self._metrics.replicas_mismatched.labels(name).set(watch.workers.mismatched)
            self._metrics.workers_configured.labels(name).set(watch.workers.configured)
            self._metrics.report_runtime(watch.card, watch.runtime)
            for state in STATES:
                self._metrics.circuit_breakers.labels(name, state).set(watch.workers.circuits.get(state, 0))
            watch.was_ready = watch.was_ready or watch.answered
            if watch.answered:
                watch.outage.end(f"{name} is ready again", model=name)
            elif watch.was_ready:
                watch.outage.begin(f"{name} is {watch.state}", model=name)
        if self._has_ready_groups("all"):
            self._was_ready.set()
        if not self.draining:
            self._shared_readiness.report(ready=self._can_answer(self._require))
        self._metrics.ready.set(self.ready)
        self._report_groups()

    def _report_groups(self) -> None:
        """Write which groups are ready. Groups change with the traffic file and with the models."""
        groups = self._groups()
        self._metrics.set_groups(groups)
        for name, members in groups.items():
            self._metrics.model_ready.labels(name).set(self.any_ready(members))
