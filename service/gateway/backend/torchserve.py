"""Send images to model servers in batches, and turn each failure into one of the service's errors."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import orjson

from service.config.settings import ServerAddress
from service.errors import (
    BackendBadResponse,
    BackendUnavailable,
    DeadlineExceeded,
    Overloaded,
    ServiceError,
)
from service.gateway.backend.batcher import Batcher
from service.gateway.backend.circuit_breaker import State
from service.gateway.backend.exchange import Exchange, IdentityOf, ImageRequest, OnSent
from service.gateway.backend.failover import Call, Failover
from service.gateway.backend.http_client import BrokenError, InvalidResponseError, UnreachableError
from service.gateway.backend.refusal import Refusal
from service.gateway.backend.replicas import RESOLVE_INTERVAL_S, Replica, Replicas, Resolve, WorkerStatus, resolve
from service.gateway.metrics import RestartCause
from service.gateway.metrics.tracing import IMAGE_TRACE
from service.models.cards import ModelCard
from service.tasks import PREDICT, operation_of, queue_name
from service.tasks.base import ModelOutput
from service.tasks.shared_image import InputImage

SKEW_S = 1.0  # allowed clock difference between hosts; without it a worker could drop requests before their deadline
STATUS_TIMEOUT_S = 1.0
# A management API may be slow under load; after so many consecutive timeouts it counts as dead.
MAX_STATUS_TIMEOUTS = 5
# After this share of the card's deadline a silent replica counts as hung, and the request is hedged on another one.
HEDGE_SHARE = 0.5
# Batches that are not full, for each worker, while its passes have other gateways' images, and how long after one.
SHARED_BATCHES, SHARED_S = 2, 2.0

OnRestart = Callable[[str, RestartCause, int], None]


@dataclass(frozen=True)
class Workers:
    """A model's workers: ids of the ready ones, the configured number, and the replicas by circuit breaker state.

    `refused` says that the model servers have left the model out: see `Refusal`. `mismatched` replicas have other files
    of the model than this gateway; their workers are not ready.
    """

    ready: frozenset[Hashable]
    configured: int
    circuits: Mapping[State, int] = field(default_factory=dict)
    refused: bool = False
    mismatched: int = 0


class Backend(Protocol):
    """The interface to the model servers."""

    async def predict(
        self, card: ModelCard, image: InputImage, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        """Return the model's output for an image (h, w, 3) by `deadline` in loop time. Raise `ServiceError`."""

    def shares_memory(self, card: ModelCard) -> bool:
        """Return whether a server may read images of this model in this host's shared memory."""

    async def workers(self, card: ModelCard) -> Workers:
        """Return the model's workers. Raise `ServiceError` if no server responds."""

    async def forget(self, card: ModelCard) -> None:
        """Forget a model that is no longer served."""

    async def close(self) -> None:
        """Close the connections."""


class TorchServe:
    """A client of interchangeable TorchServe instances, over pooled connections; create it inside the event loop.

    Each exchange carries a whole batch, because TorchServe's own batching would delay a lone image.
    """

    def __init__(
        self,
        servers: Iterable[ServerAddress],
        on_retry: Callable[[str, str], None] = lambda _model, _outcome: None,
        status_timeout_s: float = STATUS_TIMEOUT_S,
        resolve_interval_s: float = RESOLVE_INTERVAL_S,
        resolve: Resolve = resolve,
        on_sent: OnSent = lambda _model, _transport, _images: None,
        on_restart: OnRestart = lambda _model, _cause, _processes: None,
        identity_of: IdentityOf = lambda _card: None,
    ) -> None:
        """Call `on_retry` after every retry with the model and `answered` or `failed`; `on_sent` as `Exchange` does.

        Call `on_restart` after every look at the workers with how many processes were replaced. `identity_of` returns
        the identity of a card, which workers must have too, or None where it is not compared.
        """
        servers = list(servers)
        self._replicas = Replicas(servers, resolve, resolve_interval_s)
        self._failover = Failover(self._replicas, on_retry)
        self._batchers: dict[str, Batcher[ImageRequest, ModelOutput | None]] = {}
        self._in_flight: Counter[str] = Counter()  # images at the workers, by model
        self._shared_at: dict[str, float] = {}
        self._refusals: defaultdict[str, Refusal] = defaultdict(Refusal)
        self._on_retry = on_retry
        self._on_sent = on_sent
        self._on_restart = on_restart
        self._identity_of = identity_of
        self._status_timeout_s = status_timeout_s
        self._skew_s = SKEW_S if any(server.host for server in servers) else 0.0

    async def predict(
        self, card: ModelCard, image: InputImage, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        """Implement `Backend`; raise `Overloaded`, `BackendUnavailable`, `BackendBadResponse`, `DeadlineExceeded`."""
        request = ImageRequest(card, image, operation, request_id, deadline, IMAGE_TRACE.get())
        try:
            async with asyncio.timeout_at(deadline):
                output = await self._batcher_of(card, operation).submit(request, (operation, image.shape))
                return await self._retry_alone(request) if output is None else output
        except TimeoutError:
            raise DeadlineExceeded(f"{card.name} did not answer before the deadline.") from None

    async def _retry_alone(self, request: ImageRequest) -> ModelOutput:
        """Send an image whose batch failed once more, alone: another image may have caused the failure."""
        outcome, name = "failed", request.card.name
        try:
            (output,) = await self._send([request])
            if isinstance(output, ModelOutput):
                outcome = "answered"
                return output
            raise output or BackendUnavailable(f"{name} has no worker that responds.")
        finally:
            self._on_retry(name, outcome)

    def _batcher_of(self, card: ModelCard, operation: str) -> Batcher[ImageRequest, ModelOutput | None]:
        """Return the batcher for images with that operation."""
        key = queue_name(card, operation)
        if key not in self._batchers:
            workers = partial(self._open_batches, card.server_name)
            own = operation_of(card, operation)
            size = (own if own.has_own_queue else operation_of(card, PREDICT)).batch_size(card)
            self._batchers[key] = Batcher(self._send, size, workers)
        return self._batchers[key]

    async def _send(self, requests: Sequence[ImageRequest]) -> Sequence[ModelOutput | ServiceError | None]:
        """Return an outcome for each request, all of one queue; None for each if a batch failed as a whole."""
        card, operation = requests[-1].card, requests[0].operation  # the last has the model's current name
        exchange = Exchange(card, requests, self._skew_s, self._on_sent, self._identity_of(card))
        is_batch = len(requests) > 1
        hedge_after_s = HEDGE_SHARE * operation_of(card, operation).deadline_s(card)
        call = Call(card.server_name, exchange.run, hedge_after_s, is_batch, card.name)
        try:
            async with asyncio.timeout_at(max(each.deadline for each in requests)):
                if not self._replicas.present:
                    await self._replicas.refresh()
                self._in_flight[card.server_name] += len(requests)
                try:
                    outcomes = await self._failover.run(call)
                    self._note_sharing(card.server_name, outcomes)
                finally:
                    self._note_ended(card.server_name, len(requests))
                return outcomes
        except (BackendUnavailable, BackendBadResponse, Overloaded):
            if not is_batch:
                raise
            return [None] * len(requests)

    def _note_ended(self, model: str, images: int) -> None:
        """Count images as no longer at the workers. A model without any, such as one that was removed, has no entry."""
        self._in_flight[model] -= images
        if not self._in_flight[model]:
            del self._in_flight[model]

    def _note_sharing(self, model: str, outcomes: Sequence[ModelOutput | ServiceError]) -> None:
        """Note a pass with more images than this gateway has at the workers: the rest are those of other gateways."""
        if any(isinstance(each, ModelOutput) and each.batch > self._in_flight[model] for each in outcomes):
            self._shared_at[model] = asyncio.get_running_loop().time()

    def _open_batches(self, model: str) -> int:
        """Return how many batches that are not full may be at the workers of a model.

        It is one for each worker, so that images gather here. Where workers merge the batches of several gateways,
        images gather there, and more of them must be there.
        """
        is_shared = asyncio.get_running_loop().time() < self._shared_at.get(model, float("-inf")) + SHARED_S
        return self._replicas.workers(model) * (SHARED_BATCHES if is_shared else 1)

    def shares_memory(self, card: ModelCard) -> bool:
        """Implement `Backend`; without a replica it is not known yet, and so True."""
        replicas = self._replicas.present
        return not replicas or any(replica.shares_memory(card.server_name) for replica in replicas)

    async def workers(self, card: ModelCard) -> Workers:
        """Implement `Backend`; a model that is registered nowhere has no workers."""
        await self._replicas.refresh()
        replicas, model = self._replicas.present, card.server_name
        errors = await asyncio.gather(*(self._update_status(replica, card) for replica in replicas))
        if not any(error is None for error in errors):
            raise next((error for error in errors if error), BackendUnavailable("The model server is not reachable."))
        statuses = [(each.name, each.worker_status[model]) for each in replicas if model in each.worker_status]
        ready = frozenset((each.name, pid) for each in replicas for pid in each.usable(model))
        registered = sum(status.registered for _, status in statuses) or 1
        silent = {each.name for each, error in zip(replicas, errors, strict=True) if error}
        told = {name: None if name in silent or status.timeouts else status for name, status in statuses}
        refused = self._refusals[model].update(told, asyncio.get_running_loop().time())
        circuits, mismatched = self._replicas.circuits(model), self._replicas.mismatched(model)
        return Workers(ready, registered * card.serving.workers, circuits, refused, mismatched)

    async def forget(self, card: ModelCard) -> None:
        """Implement `Backend`; its pending requests are cancelled."""
        keys = [key for key in self._batchers if key.partition(" ")[0] == card.server_name]
        await asyncio.gather(*(self._batchers.pop(key).close() for key in keys))
        self._shared_at.pop(card.server_name, None)
        self._refusals.pop(card.server_name, None)
        self._replicas.forget(card.server_name)

    async def close(self) -> None:
        """Cancel the pending requests, and close all connections."""
        await asyncio.gather(*(batcher.close() for batcher in self._batchers.values()))
        await self._replicas.close()

    async def _update_status(self, replica: Replica, card: ModelCard) -> ServiceError | None:
        """Store a replica's worker status of a model, by its management API; return an error if that failed."""
        model = card.server_name
        before = replica.worker_status.get(model, WorkerStatus())
        try:
            async with asyncio.timeout(self._status_timeout_s):
                status = _worker_status(*await replica.management.exchange("GET", f"/models/{model}"))
            self._on_restart(card.name, *replica.update(model, status))
        except TimeoutError:
            timeouts = before.timeouts + 1
            ready = before.ready if timeouts < MAX_STATUS_TIMEOUTS else frozenset()
            replica.worker_status[model] = WorkerStatus(ready, before.registered, timeouts)
        except (UnreachableError, BrokenError, InvalidResponseError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, UnreachableError | BrokenError):
                replica.note_lost(model)
                return BackendUnavailable("The management API does not respond.")
            replica.worker_status[model] = WorkerStatus(registered=before.registered)
            return BackendBadResponse("The response of the management API is invalid.")
        return None


def _worker_status(status: int, body: bytes) -> WorkerStatus:
    """Parse the description of a model. Raise `ValueError`, `TypeError` or `KeyError` if it is invalid."""
    if status == 404:
        return WorkerStatus(is_refused=True)
    (version,) = orjson.loads(body)
    ready = frozenset(int(worker["pid"]) for worker in version["workers"] if worker["status"] == "READY")
    return WorkerStatus(ready, registered=True)
