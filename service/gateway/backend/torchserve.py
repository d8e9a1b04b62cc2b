"""The client of the model servers: a picture out, an answer in, and every way they can fail as one of our errors.

TorchServe answers 503 for a full queue, for a model without workers and for what went wrong in a handler (told apart
by `type`), 500 for a worker that died over the batch, 507 for one that was killed or has no memory left. After every
status above 399 it closes the connection, with SO_LINGER 0, so that the answer itself may be lost in a reset.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
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
from service.gateway.backend.failover import Call, FailedError, Failover, NobodyThereError
from service.gateway.backend.http_client import BrokenError, GibberishError, UnreachableError
from service.gateway.backend.replicas import RESOLVE_S, LookUp, Replica, Replicas, WorkerStatus, look_up
from service.models.cards import ModelCard
from service.tasks import frame as envelope
from service.tasks.frame import Opened
from service.tasks.operations import Question, deadline_s, lane, most_together
from service.tasks.output_checks import CHECKS

Pixels = npt.NDArray[np.uint8]

# How far the clocks of two hosts may be apart, for a worker not to refuse what is still wanted.
SKEW_S = 1.0
LOOK_S = 1.0
# A management door that is slow under load is no news; one that stays silent so many times is a dead one.
SILENCES = 5
# The share of a card's deadline after which a replica that is silent is held for hung, and another one asked too.
PATIENCE = 0.5
AGAIN_S = 0.25  # for some milliseconds TorchServe gives a dead worker one more picture
LONGEST_IDS = 4096  # bytes of the header that names the requests of a batch; TorchServe takes 8192 of all headers
QUEUE_FULL = "ServiceUnavailableException"
ERRORS = {error.code(): error for error in every_error()}


@dataclass(frozen=True)
class Answer:
    """A model's answer to one picture: the task's arrays, the batch it was in, and seconds in the model and before.

    `worker_bytes` is what of the worker is in memory, where it tells.
    """

    arrays: dict[str, envelope.Array]
    batch: int
    inference_s: float
    queue_s: float
    worker_bytes: int | None = None


@dataclass(frozen=True)
class Workers:
    """A model's workers: names of the ready ones, how many there should be, and its replicas by circuit state."""

    ready: frozenset[Hashable]
    configured: int
    circuits: Mapping[State, int] = field(default_factory=dict)


class Backend(Protocol):
    """What the gateway asks of model servers."""

    async def predict(
        self, card: ModelCard, picture: Pixels, *, deadline: float, request_id: str, question: Question = "answer"
    ) -> Answer:
        """The answer about a picture (h, w, 3) by `deadline` in the loop's time. Raises `ServiceError`."""

    async def workers(self, card: ModelCard) -> Workers:
        """The model's workers. Raises `ServiceError` where no server can be asked."""

    async def close(self) -> None:
        """Give back the connections."""


@dataclass(frozen=True)
class _Ask:
    """A picture (h, w, 3), what is asked of it, by whom, and until when in the loop's time."""

    picture: Pixels
    question: Question
    request_id: str
    deadline: float


class TorchServe:
    """Interchangeable TorchServes, each over pooled connections; make it inside the event loop.

    An exchange is a whole batch: TorchServe's own batching would hold a lone picture back for its delay.
    """

    def __init__(
        self,
        places: Iterable[ServerAddress],
        retried: Callable[[str, str], None] = lambda _model, _outcome: None,
        look_s: float = LOOK_S,
        resolve_s: float = RESOLVE_S,
        look_up: LookUp = look_up,
    ) -> None:
        """`retried` is told of every second try: the model, and `answered` or `failed`."""
        places = list(places)
        self._replicas = Replicas(places, look_up, resolve_s)
        self._tries = Failover(self._replicas, retried)
        self._batches: dict[str, Batcher[_Ask, Answer | None]] = {}
        self._retried = retried
        self._look_s = look_s
        self._skew_s = SKEW_S if any(place.host for place in places) else 0.0

    async def predict(
        self, card: ModelCard, picture: Pixels, *, deadline: float, request_id: str, question: Question = "answer"
    ) -> Answer:
        """See `Backend`; raises `Overloaded`, `BackendUnavailable`, `BackendBadResponse`, `DeadlineExceeded`."""
        ask = _Ask(picture, question, request_id, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._batches_of(card, question).ask(ask, (question, picture.shape))
                return await self._apart(card, ask) if answer is None else answer
        except TimeoutError:
            raise DeadlineExceeded(f"{card.name} did not answer within its deadline") from None

    async def _apart(self, card: ModelCard, ask: _Ask) -> Answer:
        """The answer to a picture whose batch failed, which may be its neighbours' doing."""
        outcome = "failed"
        try:
            (answer,) = await self._send(card, [ask])
            if isinstance(answer, Answer):
                outcome = "answered"
                return answer
            raise answer or BackendUnavailable(f"{card.name} has no worker that answers")
        finally:
            self._retried(card.name, outcome)

    def _batches_of(self, card: ModelCard, question: Question) -> Batcher[_Ask, Answer | None]:
        """Where pictures with that question gather."""
        key = lane(card.name, question)
        if key not in self._batches:
            workers = partial(self._replicas.workers, card.name)
            self._batches[key] = Batcher(partial(self._send, card), most_together(card, question), workers)
        return self._batches[key]

    async def _send(self, card: ModelCard, asks: Sequence[_Ask]) -> Sequence[Answer | ServiceError | None]:
        """An outcome for each, which have one question; None where each of several is to be asked for apart."""
        question = asks[0].question
        body = b"".join(map(self._frame, asks))

        async def ask(replica: Replica) -> list[Answer | ServiceError]:
            started = asyncio.get_running_loop().time()
            answer = await _predictions(replica, card.name, body, _ids(asks))
            elapsed_s = asyncio.get_running_loop().time() - started
            return _answers(card, asks, answer, elapsed_s)

        several = len(asks) > 1
        call = Call(card.name, ask, PATIENCE * deadline_s(card, question), several)
        try:
            async with asyncio.timeout_at(max(each.deadline for each in asks)):
                if not self._replicas.present:
                    await self._replicas.refresh()
                return await self._tries.answer(call)
        except (BackendUnavailable, BackendBadResponse, Overloaded):
            if not several:
                raise
            return [None] * len(asks)

    def _frame(self, ask: _Ask) -> bytes:
        expires = time.time() + ask.deadline - asyncio.get_running_loop().time() + self._skew_s
        head = {"expires": expires} if ask.question == "answer" else {"expires": expires, "question": ask.question}
        return envelope.pack(head, {"picture": ask.picture})

    async def workers(self, card: ModelCard) -> Workers:
        """See `Backend`; a model that is registered nowhere has no workers."""
        await self._replicas.refresh()
        replicas = self._replicas.present
        errors = await asyncio.gather(*(self._look(replica, card.name) for replica in replicas))
        if not any(error is None for error in errors):
            raise next((error for error in errors if error), BackendUnavailable("the model server is not there"))
        looks = [(replica.name, replica.looks[card.name]) for replica in replicas if card.name in replica.looks]
        ready = frozenset((name, pid) for name, look in looks for pid in look.ready)
        configured = [look.configured for _, look in looks if look.configured is not None]
        return Workers(ready, sum(configured) or card.serving.workers, self._replicas.circuits(card.name))

    async def close(self) -> None:
        """Give up what is asked, and close all connections."""
        await asyncio.gather(*(batches.close() for batches in self._batches.values()))
        await self._replicas.close()

    async def _look(self, replica: Replica, model: str) -> ServiceError | None:
        """Note what a replica's management door says of a model; an error where it says nothing of use."""
        before = replica.looks.get(model, WorkerStatus())
        try:
            async with asyncio.timeout(self._look_s):
                replica.looks[model] = _seen(*await replica.management.exchange("GET", f"/models/{model}"))
        except TimeoutError:
            silences = before.silences + 1
            ready = before.ready if silences < SILENCES else frozenset()
            replica.looks[model] = WorkerStatus(ready, before.configured, silences)
        except (UnreachableError, BrokenError, GibberishError, ValueError, TypeError, KeyError) as error:
            replica.looks[model] = WorkerStatus(configured=before.configured)
            if isinstance(error, UnreachableError | BrokenError):
                return BackendUnavailable("the management door does not answer")
            return BackendBadResponse("the management door answered nonsense")
        return None


async def _predictions(replica: Replica, model: str, frame: bytes, request_id: str) -> bytes:
    """The body of an answer. Raises `FailedError`."""
    headers = {"Content-Type": "application/octet-stream", "X-Request-ID": request_id}
    try:
        status, body = await replica.inference.exchange("POST", f"/predictions/{model}", frame, headers)
    except UnreachableError as error:
        raise NobodyThereError(BackendUnavailable("the model server is not there")) from error
    except BrokenError as error:
        raise FailedError(BackendUnavailable(f"{model} has no worker that answers"), again_s=0) from error
    except GibberishError as error:
        raise FailedError(BackendBadResponse("the model server does not speak HTTP")) from error
    if status != 200:
        raise _failure(model, status, body)
    return body


def _seen(status: int, body: bytes) -> WorkerStatus:
    """What a description of a model says. Raises `ValueError`, `TypeError` or `KeyError` where it is none."""
    if status == 404:
        return WorkerStatus()
    (version,) = orjson.loads(body)
    ready = frozenset(int(worker["pid"]) for worker in version["workers"] if worker["status"] == "READY")
    return WorkerStatus(ready, int(version["minWorkers"]))


def _failure(model: str, status: int, body: bytes) -> FailedError:
    """What a status other than 200 means."""
    kind = _type(body)
    if status == 503 and kind == QUEUE_FULL:
        return FailedError(Overloaded(f"the queue of {model} is full, or it has no worker"), guilty=False)
    if status in {500, 507}:
        return FailedError(BackendUnavailable(f"{model} has no worker that answers"), again_s=AGAIN_S)
    if status == 404:
        return FailedError(BackendUnavailable(f"{model} cannot answer now"))
    return FailedError(BackendBadResponse(f"the model server answered {status} for {model}"))


def _type(body: bytes) -> str | None:
    try:
        return str(orjson.loads(body)["type"])
    except (ValueError, TypeError, KeyError):
        return None


def _ids(asks: Sequence[_Ask]) -> str:
    """Whose requests these are, as many as a header holds."""
    ids = ", ".join(each.request_id for each in asks)
    return ids if len(ids) <= LONGEST_IDS else ids[:LONGEST_IDS].rpartition(", ")[0]


def _answers(card: ModelCard, asks: Sequence[_Ask], body: bytes, elapsed_s: float) -> list[Answer | ServiceError]:
    """What the worker says of each picture. Raises `FailedError` where some of it is of no use."""
    try:
        opened = envelope.unpack_all(body)
    except ValueError as error:
        raise FailedError(BackendBadResponse(f"the answer of {card.name} is no envelope")) from error
    if len(opened) != len(asks):
        raise FailedError(BackendBadResponse(f"{card.name} answered {len(opened)} pictures of {len(asks)}"))
    return [_answer(card, ask, each, elapsed_s) for ask, each in zip(asks, opened, strict=True)]


def _answer(card: ModelCard, ask: _Ask, opened: Opened, elapsed_s: float) -> Answer | ServiceError:
    head, arrays = opened
    try:
        if head["ok"] is not True:
            return _told(head)
        batch, inference_s = int(head["batch"]), float(head["inference_ms"]) / 1000
        worker_bytes = None if head.get("worker_bytes") is None else int(head["worker_bytes"])
    except (ValueError, TypeError, KeyError) as error:
        raise FailedError(BackendBadResponse(f"{card.name} answered without what an answer has")) from error
    fits = CHECKS[card.task, ask.question]
    if not (batch >= 1 and 0 <= inference_s < np.inf and fits(card, ask.picture, arrays)):
        raise FailedError(BackendBadResponse(f"the answer of {card.name} does not fit its card"))
    return Answer(arrays, batch, inference_s, max(0.0, elapsed_s - inference_s), worker_bytes)


def _told(head: dict[str, Any]) -> ServiceError:
    """The error that the worker names; only what the caller can mend is told in the worker's words."""
    error = ERRORS.get(head["code"], BackendBadResponse)
    return error(str(head["detail"]) if error.status < 500 else "the worker failed on this picture")
