"""One exchange of a batch with a replica: images to frames, and frames to an outcome for each image.

A worker that shares memory with this gateway gets references to images instead of their pixels. No setting says which
worker does. Each gets references at first, and if it cannot read one, pixels at once and until it is restarted.

A model server responds 503 for a full queue, for a model without workers, and for an error in a handler (the member
`type` distinguishes them). 500 means that the worker died during the batch, 507 that it was killed or is out of memory.
After every status above 399 it closes the connection with SO_LINGER 0, so the response itself may be lost in a reset.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import orjson

from service.errors import BackendBadResponse, BackendUnavailable, Overloaded, ServiceError, every_error
from service.gateway.backend.failover import NotSentError, ReplicaError
from service.gateway.backend.http_client import BrokenError, InvalidResponseError, UnreachableError
from service.gateway.backend.replicas import Replica
from service.gateway.metrics import TRANSPORTS, Transport
from service.gateway.metrics.tracing import ImageTrace
from service.models.cards import ModelCard
from service.tasks import PREDICT, operation_of
from service.tasks import frame as frames
from service.tasks.base import ModelOutput
from service.tasks.frame import Runtime, UnpackedFrame
from service.tasks.shared_image import STALE, UNREADABLE, InputImage, ReadError, SharedImage

RETRY_PAUSE_S = 0.25  # for some milliseconds a model server still passes requests to a dead worker
MAX_IDS_BYTES = 4096  # of the header with the request ids of a batch; the server accepts 8192 bytes of headers
QUEUE_FULL = "ServiceUnavailableException"
ERRORS = {error.code(): error for error in every_error()}

OnSent = Callable[[str, Transport, int], None]
IdentityOf = Callable[[ModelCard], str | None]


@dataclass(frozen=True)
class ImageRequest:
    """An image (h, w, 3), the model, the operation, the request id, the deadline in loop time, and the spans, if any.

    `carrier` has the span of the current exchange, for the worker.
    """

    card: ModelCard
    image: InputImage
    operation: str
    request_id: str
    deadline: float
    trace: ImageTrace | None = None
    carrier: Mapping[str, str] = field(default_factory=dict)


class Exchange:
    """The images of one batch, all for one operation of a model."""

    def __init__(
        self,
        card: ModelCard,
        requests: Sequence[ImageRequest],
        skew_s: float,
        on_sent: OnSent,
        identity: str | None = None,
    ) -> None:
        """Allow clocks to differ by `skew_s`; call `on_sent` with the model, the transport and the number of images.

        `identity` is that of the card here (`service.models.identity`). Without it, the worker's is not compared.
        """
        self._card = card
        self._identity = identity
        self._requests = requests
        self._skew_s = skew_s
        self._on_sent = on_sent

    async def run(self, replica: Replica) -> list[ModelOutput | ServiceError]:
        """Return an outcome for each image, in their order. Raises `ReplicaError`."""
        if any(each.trace for each in self._requests):
            return await traced(replica, self._requests, partial(self._run, replica))
        return await self._run(replica, self._requests)

    async def _run(self, replica: Replica, requests: Sequence[ImageRequest]) -> list[ModelOutput | ServiceError]:
        clock = asyncio.get_running_loop().time
        started = clock()
        opened = await self._send(replica, requests, by_reference=replica.shares_memory(self._card.server_name))
        self._check_identity(replica, opened)
        unread = [index for index, (head, _) in enumerate(opened) if head.get("code") in {UNREADABLE, STALE}]
        if unread:
            if any(opened[index][0]["code"] == UNREADABLE for index in unread):
                replica.note_unreadable(self._card.server_name)
            again = await self._send(replica, [requests[index] for index in unread], by_reference=False)
            for index, response in zip(unread, again, strict=True):
                opened[index] = response
        if any(head.get("draining") is True for head, _ in opened):
            replica.note_draining()
        elapsed_s = clock() - started
        return [self._outcome(*each, elapsed_s) for each in zip(requests, opened, strict=True)]

    def _check_identity(self, replica: Replica, opened: Sequence[UnpackedFrame]) -> None:
        """Raise `ReplicaError` if the worker's model has other files than the card here. Older workers say nothing."""
        expected = self._identity
        if expected is not None and any(head.get("identity", expected) != expected for head, _ in opened):
            replica.note_mismatch(self._card.server_name)
            detail = f"The model server has other files of {self._card.name} than this gateway."
            raise ReplicaError(BackendUnavailable(detail), counts_as_failure=False)

    async def _send(
        self, replica: Replica, requests: Sequence[ImageRequest], *, by_reference: bool
    ) -> list[UnpackedFrame]:
        """Return the worker's frames, one for each request. Raises `ReplicaError`."""
        model = self._card.name
        body = b"".join([self._frame(each, by_reference=by_reference) for each in requests])
        shared = sum(isinstance(each.image, SharedImage) for each in requests) if by_reference else 0
        for transport, count in zip(TRANSPORTS, (shared, len(requests) - shared), strict=True):
            if count:
                self._on_sent(model, transport, count)
        response = await _predictions(replica, self._card, body, _ids(requests))
        try:
            opened = frames.unpack_all(response)
        except ValueError as error:
            raise ReplicaError(BackendBadResponse(f"The response of {model} is not a frame.")) from error
        if len(opened) != len(requests):
            raise ReplicaError(
                BackendBadResponse(f"{model} returned {len(opened)} outcomes for {len(requests)} images.")
            )
        return opened

    def _frame(self, request: ImageRequest, *, by_reference: bool) -> bytes:
        expires = time.time() + request.deadline - asyncio.get_running_loop().time() + self._skew_s
        head: dict[str, Any] = {"expires": expires, **request.carrier}
        if request.operation != PREDICT:
            head["operation"] = request.operation
        image = request.image
        if isinstance(image, SharedImage):
            if by_reference:
                return frames.pack({**head, "shared": image.reference})
            try:
                return frames.pack(head, {"image": image.pixels()})
            except ReadError:  # released, so no caller waits for the outcome; the worker rejects the image too
                return frames.pack({**head, "shared": image.reference})
        return frames.pack(head, {"image": image})

    def _outcome(self, request: ImageRequest, opened: UnpackedFrame, elapsed_s: float) -> ModelOutput | ServiceError:
        card, (head, arrays) = self._card, opened
        try:
            if head["ok"] is not True:
                return _worker_error(head)
            batch, inference_s = int(head["batch"]), float(head["inference_ms"]) / 1000
            worker_bytes = None if head.get("worker_bytes") is None else int(head["worker_bytes"])
            runtime = Runtime(head["engine"], head["device"]) if "engine" in head else None
        except (ValueError, TypeError, KeyError) as error:
            raise ReplicaError(BackendBadResponse(f"A member is missing from the response of {card.name}.")) from error
        fits = operation_of(card, request.operation).fits
        if not (batch >= 1 and 0 <= inference_s < np.inf and fits(card, request.image, arrays)):
            raise ReplicaError(BackendBadResponse(f"The response of {card.name} does not match its card."))
        queue_s, is_halved = max(0.0, elapsed_s - inference_s), head.get("halved") is True
        return ModelOutput(arrays, batch, inference_s, queue_s, worker_bytes, runtime, is_halved)


async def traced(
    replica: Replica,
    requests: Sequence[ImageRequest],
    run: Callable[[Sequence[ImageRequest]], Awaitable[list[ModelOutput | ServiceError]]],
) -> list[ModelOutput | ServiceError]:
    """Return what `run` returns for requests some of which are traced. Each of those gets a span for this exchange."""
    attempts = [each.trace.attempt(replica.name, len(requests)) if each.trace else None for each in requests]
    sent = [
        replace(each, carrier=attempt.carrier) if attempt else each
        for each, attempt in zip(requests, attempts, strict=True)
    ]
    errors: Sequence[object] = [asyncio.CancelledError()] * len(requests)
    try:
        outcomes = await run(sent)
        errors = outcomes
        return outcomes
    except ReplicaError as failed:
        errors = [failed.error] * len(requests)
        raise
    finally:
        for attempt, error in zip(attempts, errors, strict=True):
            if attempt is not None:
                attempt.end(error if isinstance(error, BaseException) else None)


async def _predictions(replica: Replica, card: ModelCard, frame: bytes, request_id: str) -> bytes:
    """Return the body of the response. Raise `ReplicaError`."""
    model, path = card.name, f"/predictions/{card.server_name}"
    headers = {"Content-Type": "application/octet-stream", "X-Request-ID": request_id}
    try:
        status, body = await replica.inference.exchange("POST", path, frame, headers)
    except UnreachableError as error:
        raise NotSentError(BackendUnavailable("The model server is not reachable.")) from error
    except BrokenError as error:
        raise ReplicaError(BackendUnavailable(f"{model} has no worker that responds."), retry_pause_s=0) from error
    except InvalidResponseError as error:
        raise ReplicaError(BackendBadResponse("The model server does not speak HTTP.")) from error
    if status != 200:
        raise _failure(model, status, body)
    return body


def _failure(model: str, status: int, body: bytes) -> ReplicaError:
    """Return the error for a status other than 200."""
    kind = _type(body)
    if status == 503 and kind == QUEUE_FULL:
        return ReplicaError(Overloaded(f"The queue of {model} is full, or it has no worker."), counts_as_failure=False)
    if status in {500, 507}:
        return ReplicaError(BackendUnavailable(f"{model} has no worker that responds."), retry_pause_s=RETRY_PAUSE_S)
    if status == 404:
        return ReplicaError(BackendUnavailable(f"{model} cannot respond now."))
    return ReplicaError(BackendBadResponse(f"The model server responded {status} for {model}."))


def _type(body: bytes) -> str | None:
    try:
        return str(orjson.loads(body)["type"])
    except (ValueError, TypeError, KeyError):
        return None


def _ids(requests: Sequence[ImageRequest]) -> str:
    """Join the request ids, as many as the header holds."""
    ids = ", ".join(each.request_id for each in requests)
    return ids if len(ids) <= MAX_IDS_BYTES else ids[:MAX_IDS_BYTES].rpartition(", ")[0]


def _worker_error(head: dict[str, Any]) -> ServiceError:
    """Return the error that the worker names, with the worker's own detail only if the caller can correct it."""
    if head["code"] in {UNREADABLE, STALE}:
        return BackendUnavailable("The image is no longer in the gateway's memory.")
    error = ERRORS.get(head["code"], BackendBadResponse)
    return error(str(head["detail"]) if error.status < 500 else "The worker failed on this image.")
