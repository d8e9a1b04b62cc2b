"""The client of the model server: a picture out, an answer in, and every way it can fail as one of our errors.

TorchServe answers 503 for a full queue, for a model without workers and for what went wrong in a handler (told apart
by `type`), 500 for a worker that died over the batch, 507 for one that was killed or has no memory left. After every
status above 399 it closes the connection, with SO_LINGER 0, so that the answer itself may be lost in a reset.
"""

import asyncio
import io
import time
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import numpy as np
import numpy.typing as npt
import orjson

from service import envelope
from service.cards import ModelCard
from service.errors import (
    BackendBadResponse,
    BackendUnavailable,
    DeadlineExceeded,
    Overloaded,
    ServiceError,
    every_error,
)
from service.gateway.fitting import CHECKS, Fits
from service.questions import Question

Pixels = npt.NDArray[np.uint8]

# How far the clocks of two hosts may be apart, for a worker not to refuse what is still wanted.
SKEW_S = 1.0
QUEUE_FULL = "ServiceUnavailableException"
ERRORS = {error.code(): error for error in every_error()}


@dataclass(frozen=True)
class Answer:
    """A model's answer to one picture: the task's arrays, the batch it was in, and seconds in the model and before."""

    arrays: dict[str, envelope.Array]
    batch: int
    inference_s: float
    queue_s: float


@dataclass(frozen=True)
class Workers:
    """A model's workers: the process ids of the ready ones, and how many there should be."""

    ready: frozenset[int]
    configured: int


class Backend(Protocol):
    """What the gateway asks of a model server."""

    async def predict(
        self, card: ModelCard, picture: Pixels, *, deadline: float, request_id: str, question: Question = "answer"
    ) -> Answer:
        """The answer about a picture (h, w, 3) by `deadline` in the loop's time. Raises `ServiceError`."""

    async def workers(self, card: ModelCard) -> Workers:
        """The model's workers. Raises `ServiceError` where the server cannot be asked."""

    async def close(self) -> None:
        """Give back the connections."""


class _BrokenError(Exception):
    """The connection broke over a request, which can be sent once more: it changes nothing."""

    pause_s = 0.0


class _WorkerDiedError(_BrokenError):
    """The worker died over a request. For some milliseconds TorchServe gives a dead one more of them."""

    pause_s = 0.25


class TorchServe:
    """TorchServe over pooled connections, at `http://host:port` or `unix:/path`; make it inside the event loop."""

    def __init__(self, inference_url: str, management_url: str) -> None:
        self._inference, self._inference_url = _session(inference_url)
        self._management, self._management_url = _session(management_url)
        self._skew_s = 0.0 if inference_url.startswith("unix:") else SKEW_S

    async def predict(
        self, card: ModelCard, picture: Pixels, *, deadline: float, request_id: str, question: Question = "answer"
    ) -> Answer:
        """See `Backend`; raises `Overloaded`, `BackendUnavailable`, `BackendBadResponse`, `DeadlineExceeded`."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        expires = time.time() + deadline - started + self._skew_s
        head = {"expires": expires} if question == "answer" else {"expires": expires, "question": question}
        frame = envelope.pack(head, {"picture": picture})
        try:
            async with asyncio.timeout_at(deadline):
                body = await self._twice(card.name, frame, request_id)
        except TimeoutError:
            raise DeadlineExceeded(f"{card.name} did not answer within its deadline") from None
        return _answer(card, CHECKS[card.task, question], picture, body, loop.time() - started)

    async def workers(self, card: ModelCard) -> Workers:
        """See `Backend`; a model that is not registered has no workers."""
        status, body = await self._described(card.name)
        if status == 404:
            return Workers(frozenset(), card.serving.workers)
        try:
            (version,) = orjson.loads(body)
            ready = frozenset(int(worker["pid"]) for worker in version["workers"] if worker["status"] == "READY")
            return Workers(ready, int(version["minWorkers"]))
        except (ValueError, TypeError, KeyError) as error:
            raise BackendBadResponse("the management door answered nonsense") from error

    async def close(self) -> None:
        """Close both pools."""
        await self._inference.close()
        await self._management.close()

    async def _twice(self, model: str, frame: bytes, request_id: str) -> bytes:
        try:
            return await self._predictions(model, frame, request_id)
        except _BrokenError as error:
            await asyncio.sleep(error.pause_s)
        try:
            return await self._predictions(model, frame, request_id)
        except _BrokenError as error:
            raise BackendUnavailable(f"{model} has no worker that answers") from error

    async def _predictions(self, model: str, frame: bytes, request_id: str) -> bytes:
        url = f"{self._inference_url}/predictions/{model}"
        headers = {"Content-Type": "application/octet-stream", "X-Request-ID": request_id}
        status, body = await _exchange(self._inference, "POST", url, data=io.BytesIO(frame), headers=headers)
        if status != 200:
            raise _failure(model, status, body)
        return body

    async def _described(self, model: str) -> tuple[int, bytes]:
        try:
            return await _exchange(self._management, "GET", f"{self._management_url}/models/{model}")
        except _BrokenError as error:
            raise BackendUnavailable("the management door broke the connection") from error


def _session(url: str) -> tuple[aiohttp.ClientSession, str]:
    """A pool without a bound (admission is the bound), clocks (deadlines are ours) or cookies; and its base."""
    path = url.removeprefix("unix:")
    connector = aiohttp.TCPConnector(limit=0) if path == url else aiohttp.UnixConnector(path, limit=0)
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    return session, url.rstrip("/") if path == url else "http://torchserve"


async def _exchange(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> tuple[int, bytes]:
    try:
        async with session.request(method, url, allow_redirects=False, **options) as response:
            return response.status, await response.read()
    except aiohttp.ClientConnectorError as error:
        raise BackendUnavailable("the model server is not there") from error
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
        raise _BrokenError from error
    except aiohttp.ClientError as error:
        raise BackendBadResponse("the model server does not speak HTTP") from error


def _failure(model: str, status: int, body: bytes) -> Exception:
    """What a status other than 200 means."""
    kind = _type(body)
    if status == 503 and kind == QUEUE_FULL:
        return Overloaded(f"the queue of {model} is full, or it has no worker")
    if status in {500, 507}:
        return _WorkerDiedError()
    if status == 404:
        return BackendUnavailable(f"{model} cannot answer now")
    return BackendBadResponse(f"the model server answered {status} for {model}")


def _type(body: bytes) -> str | None:
    try:
        return str(orjson.loads(body)["type"])
    except (ValueError, TypeError, KeyError):
        return None


def _answer(card: ModelCard, fits: Fits, picture: Pixels, body: bytes, elapsed_s: float) -> Answer:
    try:
        head, arrays = envelope.unpack(body)
        if head["ok"] is not True:
            raise _told(head)
        batch, inference_s = int(head["batch"]), float(head["inference_ms"]) / 1000
    except (ValueError, TypeError, KeyError) as error:
        raise BackendBadResponse(f"the answer of {card.name} is no envelope") from error
    if not (batch >= 1 and 0 <= inference_s < np.inf and fits(card, picture, arrays)):
        raise BackendBadResponse(f"the answer of {card.name} does not fit its card")
    return Answer(arrays, batch, inference_s, max(0.0, elapsed_s - inference_s))


def _told(head: dict[str, Any]) -> ServiceError:
    """The error that the worker names; only what the caller can mend is told in the worker's words."""
    error = ERRORS.get(head["code"], BackendBadResponse)
    return error(str(head["detail"]) if error.status < 500 else "the worker failed on this picture")
