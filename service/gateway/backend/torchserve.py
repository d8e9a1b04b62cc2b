"""Send images to TorchServe, and turn each of its failures into one of the service's errors.

TorchServe responds 503 for a full queue, for a model without workers, and for an error in a handler (the member `type`
distinguishes them). 500 means that the worker died during the batch, 507 that it was killed or is out of memory. After
every status above 399 it closes the connection with SO_LINGER 0, so the response itself may be lost in a reset.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import orjson

from service.config.settings import ServerAddress
from service.errors import (
    BackendBadResponse,
    BackendUnavailable,
    DeadlineExceeded,
    Overloaded,
    ServiceError,
    every_error,
)
from service.gateway.backend.batcher import Batcher
from service.gateway.backend.circuit_breaker import State
from service.gateway.backend.failover import Call, Failover, NotSentError, ReplicaError
from service.gateway.backend.http_client import BrokenError, InvalidResponseError, UnreachableError
from service.gateway.backend.replicas import RESOLVE_INTERVAL_S, Replica, Replicas, Resolve, WorkerStatus, resolve
from service.models.cards import ModelCard
from service.tasks import PREDICT, operation_of, queue_name
from service.tasks import frame as frames
from service.tasks.base import ModelOutput, Pixels
from service.tasks.frame import UnpackedFrame

SKEW_S = 1.0  # allowed clock difference between hosts; without it a worker could drop requests before their deadline
STATUS_TIMEOUT_S = 1.0
# A management API may be slow under load; after so many consecutive timeouts it counts as dead.
MAX_STATUS_TIMEOUTS = 5
# After this share of the card's deadline a silent replica counts as hung, and the request is hedged on another one.
HEDGE_SHARE = 0.5
RETRY_PAUSE_S = 0.25  # for some milliseconds TorchServe still passes requests to a dead worker
MAX_IDS_BYTES = 4096  # of the header with the request ids of a batch; TorchServe accepts 8192 bytes of headers
QUEUE_FULL = "ServiceUnavailableException"
ERRORS = {error.code(): error for error in every_error()}


@dataclass(frozen=True)
class Workers:
    """A model's workers: ids of the ready ones, the configured number, and the replicas by circuit breaker state."""

    ready: frozenset[Hashable]
    configured: int
    circuits: Mapping[State, int] = field(default_factory=dict)


class Backend(Protocol):
    """The interface to the model servers."""

    async def predict(
        self, card: ModelCard, image: Pixels, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        """Return the model's output for an image (h, w, 3) by `deadline` in loop time. Raise `ServiceError`."""

    async def workers(self, card: ModelCard) -> Workers:
        """Return the model's workers. Raise `ServiceError` if no server responds."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True)
class _Request:
    """An image (h, w, 3), the operation, the request id, and the deadline in loop time."""

    image: Pixels
    operation: str
    request_id: str
    deadline: float


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
    ) -> None:
        """Call `on_retry` after every retry with the model and `answered` or `failed`."""
        servers = list(servers)
        self._replicas = Replicas(servers, resolve, resolve_interval_s)
        self._failover = Failover(self._replicas, on_retry)
        self._batchers: dict[str, Batcher[_Request, ModelOutput | None]] = {}
        self._on_retry = on_retry
        self._status_timeout_s = status_timeout_s
        self._skew_s = SKEW_S if any(server.host for server in servers) else 0.0

    async def predict(
        self, card: ModelCard, image: Pixels, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        """Implement `Backend`; raise `Overloaded`, `BackendUnavailable`, `BackendBadResponse`, `DeadlineExceeded`."""
        request = _Request(image, operation, request_id, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                output = await self._batcher_of(card, operation).submit(request, (operation, image.shape))
                return await self._retry_alone(card, request) if output is None else output
        except TimeoutError:
            raise DeadlineExceeded(f"{card.name} did not respond before the deadline") from None

    async def _retry_alone(self, card: ModelCard, request: _Request) -> ModelOutput:
        """Send an image whose batch failed once more, alone: another image may have caused the failure."""
        outcome = "failed"
        try:
            (output,) = await self._send(card, [request])
            if isinstance(output, ModelOutput):
                outcome = "answered"
                return output
            raise output or BackendUnavailable(f"{card.name} has no worker that responds")
        finally:
            self._on_retry(card.name, outcome)

    def _batcher_of(self, card: ModelCard, operation: str) -> Batcher[_Request, ModelOutput | None]:
        """Return the batcher for images with that operation."""
        key = queue_name(card, operation)
        if key not in self._batchers:
            workers = partial(self._replicas.workers, card.name)
            own = operation_of(card, operation)
            size = (own if own.has_own_queue else operation_of(card, PREDICT)).batch_size(card)
            self._batchers[key] = Batcher(partial(self._send, card), size, workers)
        return self._batchers[key]

    async def _send(self, card: ModelCard, requests: Sequence[_Request]) -> Sequence[ModelOutput | ServiceError | None]:
        """Return an outcome for each request, all of one queue; None for each if a batch failed as a whole."""
        operation = requests[0].operation
        body = b"".join(map(self._frame, requests))

        async def send(replica: Replica) -> list[ModelOutput | ServiceError]:
            started = asyncio.get_running_loop().time()
            response = await _predictions(replica, card.name, body, _ids(requests))
            elapsed_s = asyncio.get_running_loop().time() - started
            return _outcomes(card, requests, response, elapsed_s)

        is_batch = len(requests) > 1
        call = Call(card.name, send, HEDGE_SHARE * operation_of(card, operation).deadline_s(card), is_batch)
        try:
            async with asyncio.timeout_at(max(each.deadline for each in requests)):
                if not self._replicas.present:
                    await self._replicas.refresh()
                return await self._failover.run(call)
        except (BackendUnavailable, BackendBadResponse, Overloaded):
            if not is_batch:
                raise
            return [None] * len(requests)

    def _frame(self, request: _Request) -> bytes:
        expires = time.time() + request.deadline - asyncio.get_running_loop().time() + self._skew_s
        head = (
            {"expires": expires}
            if request.operation == PREDICT
            else {"expires": expires, "operation": request.operation}
        )
        return frames.pack(head, {"image": request.image})

    async def workers(self, card: ModelCard) -> Workers:
        """Implement `Backend`; a model that is registered nowhere has no workers."""
        await self._replicas.refresh()
        replicas = self._replicas.present
        errors = await asyncio.gather(*(self._update_status(replica, card.name) for replica in replicas))
        if not any(error is None for error in errors):
            raise next((error for error in errors if error), BackendUnavailable("the model server is not reachable"))
        statuses = [(each.name, each.worker_status[card.name]) for each in replicas if card.name in each.worker_status]
        ready = frozenset((name, pid) for name, status in statuses for pid in status.ready)
        configured = [status.configured for _, status in statuses if status.configured is not None]
        return Workers(ready, sum(configured) or card.serving.workers, self._replicas.circuits(card.name))

    async def close(self) -> None:
        """Cancel the pending requests, and close all connections."""
        await asyncio.gather(*(batcher.close() for batcher in self._batchers.values()))
        await self._replicas.close()

    async def _update_status(self, replica: Replica, model: str) -> ServiceError | None:
        """Store a replica's worker status of a model, by its management API; return an error if that failed."""
        before = replica.worker_status.get(model, WorkerStatus())
        try:
            async with asyncio.timeout(self._status_timeout_s):
                replica.worker_status[model] = _worker_status(
                    *await replica.management.exchange("GET", f"/models/{model}")
                )
        except TimeoutError:
            timeouts = before.timeouts + 1
            ready = before.ready if timeouts < MAX_STATUS_TIMEOUTS else frozenset()
            replica.worker_status[model] = WorkerStatus(ready, before.configured, timeouts)
        except (UnreachableError, BrokenError, InvalidResponseError, ValueError, TypeError, KeyError) as error:
            replica.worker_status[model] = WorkerStatus(configured=before.configured)
            if isinstance(error, UnreachableError | BrokenError):
                return BackendUnavailable("the management API does not respond")
            return BackendBadResponse("the response of the management API is invalid")
        return None


async def _predictions(replica: Replica, model: str, frame: bytes, request_id: str) -> bytes:
    """Return the body of the response. Raise `ReplicaError`."""
    headers = {"Content-Type": "application/octet-stream", "X-Request-ID": request_id}
    try:
        status, body = await replica.inference.exchange("POST", f"/predictions/{model}", frame, headers)
    except UnreachableError as error:
        raise NotSentError(BackendUnavailable("the model server is not reachable")) from error
    except BrokenError as error:
        raise ReplicaError(BackendUnavailable(f"{model} has no worker that responds"), retry_pause_s=0) from error
    except InvalidResponseError as error:
        raise ReplicaError(BackendBadResponse("the model server does not speak HTTP")) from error
    if status != 200:
        raise _failure(model, status, body)
    return body


def _worker_status(status: int, body: bytes) -> WorkerStatus:
    """Parse the description of a model. Raise `ValueError`, `TypeError` or `KeyError` if it is invalid."""
    if status == 404:
        return WorkerStatus()
    (version,) = orjson.loads(body)
    ready = frozenset(int(worker["pid"]) for worker in version["workers"] if worker["status"] == "READY")
    return WorkerStatus(ready, int(version["minWorkers"]))


def _failure(model: str, status: int, body: bytes) -> ReplicaError:
    """Return the error for a status other than 200."""
    kind = _type(body)
    if status == 503 and kind == QUEUE_FULL:
        return ReplicaError(Overloaded(f"the queue of {model} is full, or it has no worker"), counts_as_failure=False)
    if status in {500, 507}:
        return ReplicaError(BackendUnavailable(f"{model} has no worker that responds"), retry_pause_s=RETRY_PAUSE_S)
    if status == 404:
        return ReplicaError(BackendUnavailable(f"{model} cannot respond now"))
    return ReplicaError(BackendBadResponse(f"the model server responded {status} for {model}"))


def _type(body: bytes) -> str | None:
    try:
        return str(orjson.loads(body)["type"])
    except (ValueError, TypeError, KeyError):
        return None


def _ids(requests: Sequence[_Request]) -> str:
    """Join the request ids, as many as the header holds."""
    ids = ", ".join(each.request_id for each in requests)
    return ids if len(ids) <= MAX_IDS_BYTES else ids[:MAX_IDS_BYTES].rpartition(", ")[0]


def _outcomes(
    card: ModelCard, requests: Sequence[_Request], body: bytes, elapsed_s: float
) -> list[ModelOutput | ServiceError]:
    """Parse the worker's outcome for each image. Raise `ReplicaError` if any of them is invalid."""
    try:
        opened = frames.unpack_all(body)
    except ValueError as error:
        raise ReplicaError(BackendBadResponse(f"the response of {card.name} is not a frame")) from error
    if len(opened) != len(requests):
        raise ReplicaError(
            BackendBadResponse(f"{card.name} returned {len(opened)} outcomes for {len(requests)} images")
        )
    return [_outcome(card, request, each, elapsed_s) for request, each in zip(requests, opened, strict=True)]


def _outcome(card: ModelCard, request: _Request, opened: UnpackedFrame, elapsed_s: float) -> ModelOutput | ServiceError:
    head, arrays = opened
    try:
        if head["ok"] is not True:
            return _worker_error(head)
        batch, inference_s = int(head["batch"]), float(head["inference_ms"]) / 1000
        worker_bytes = None if head.get("worker_bytes") is None else int(head["worker_bytes"])
    except (ValueError, TypeError, KeyError) as error:
        raise ReplicaError(BackendBadResponse(f"a member is missing from the response of {card.name}")) from error
    fits = operation_of(card, request.operation).fits
    if not (batch >= 1 and 0 <= inference_s < np.inf and fits(card, request.image, arrays)):
        raise ReplicaError(BackendBadResponse(f"the response of {card.name} does not match its card"))
    return ModelOutput(arrays, batch, inference_s, max(0.0, elapsed_s - inference_s), worker_bytes)


def _worker_error(head: dict[str, Any]) -> ServiceError:
    """Return the error that the worker names, with the worker's own detail only if the caller can correct it."""
    error = ERRORS.get(head["code"], BackendBadResponse)
    return error(str(head["detail"]) if error.status < 500 else "the worker failed on this image")
