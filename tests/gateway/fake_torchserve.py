"""A small real server that speaks TorchServe's doors and our envelope, and misbehaves on request.

It answers from the picture's own bytes: the same picture gets the same answer, another one another.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from service import envelope, images, preprocess
from service.cards import ModelCard
from service.gateway.replicas import Place
from service.questions import Question

BATCH = 3
POISON = 13
INFERENCE_MS = 2.5
WORKER_BYTES = 400 << 20

Behaviour = Callable[["FakeTorchServe", web.Request, ModelCard, bytes], Awaitable[web.StreamResponse]]


def expected_scores(card: ModelCard, picture: envelope.Array) -> np.ndarray[Any, Any]:
    """The scores that the fake tells of a picture."""
    spread = np.random.default_rng(zlib.crc32(picture.tobytes())).random(card.network.classes)
    scores: np.ndarray[Any, Any] = (spread / spread.sum()).astype(np.float32)
    return scores


def expected_mask(card: ModelCard, picture: envelope.Array) -> np.ndarray[Any, Any]:
    """The mask that the fake tells of a picture: red decides."""
    return (picture[..., 0].astype(np.uint16) * card.network.classes // 256).astype(np.uint8)


def offline_scores(card: ModelCard, content: bytes) -> list[float]:
    """The scores that the model gives this picture when no gateway is between."""
    decoded = images.decode(content, images.Limits(), needed=preprocess.needed_side(card.input))
    scores = expected_scores(card, preprocess.prepare(card.input, decoded.image))
    return [round(float(score), 6) for score in scores]


class FakeTorchServe:
    """Its workers by model, what it does next, and what it was asked."""

    def __init__(self, folder: Path, cards: Mapping[str, ModelCard]) -> None:
        self.place = Place(f"unix:{folder / 'inference.sock'}", f"unix:{folder / 'management.sock'}")
        self.cards = cards
        self.workers = {name: [{"pid": 100, "status": "READY"}] for name in cards}
        self.behaviour = "answer"
        self.next: deque[str] = deque()
        self.by_model: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.exchanges = 0
        self.expires: list[float] = []
        self.waiting = 0
        self.release = asyncio.Event()
        self.management_silent = False
        self.connections: set[Any] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeTorchServe"]:
        """Serve both doors until the end of the `with`."""
        runner = await self._runner()
        for url in (self.place.inference, self.place.management):
            await web.UnixSite(runner, url.removeprefix("unix:")).start()
        try:
            yield self
        finally:
            self.release.set()
            await runner.cleanup()

    @asynccontextmanager
    async def listening(self, address: str, port: int = 0) -> AsyncIterator[Place]:
        """Serve both doors at one TCP port until the end of the `with`."""
        runner = await self._runner()
        await web.TCPSite(runner, address, port, reuse_address=True).start()
        url = f"http://{address}:{runner.addresses[0][1]}"
        try:
            yield Place(url, url)
        finally:
            await runner.cleanup()

    async def _runner(self) -> web.AppRunner:
        """Both doors' paths, that differ."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/predictions/{model}", self._predict)
        app.router.add_get("/models/{model}", self._describe)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        return runner

    def asked_of(self, model: str) -> int:
        """How many pictures, besides test pictures, the model was asked for."""
        return sum(1 for name, request_id in self.asked if name == model and request_id != "canary")

    async def _predict(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        card = self.cards[request.match_info["model"]]
        request_id = request.headers["X-Request-ID"]
        self.exchanges += request_id != "canary"
        self.asked += [(card.name, each) for each in request_id.split(", ")]
        body = await request.read()
        self.expires += [head["expires"] for head, _ in envelope.unpack_all(body)]
        behaviour = self.by_model.get(card.name, self.behaviour)
        if self.next and request_id != "canary":
            behaviour = self.next.popleft()
        return await BEHAVIOURS[behaviour](self, request, card, body)

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        if self.management_silent:
            await self.release.wait()
        name = request.match_info["model"]
        if name not in self.workers:
            return _error(404, "ModelNotFoundException")
        return web.json_response(
            [{"modelName": name, "modelVersion": "1.0", "minWorkers": 1, "workers": self.workers[name]}]
        )


def _error(status: int, kind: str) -> web.Response:
    response = web.json_response({"code": status, "type": kind, "message": "as TorchServe says"}, status=status)
    response.force_close()
    return response


def _envelopes(answers: Iterable[envelope.Opened]) -> web.Response:
    body = b"".join(envelope.pack(head, arrays) for head, arrays in answers)
    return web.Response(body=body, content_type="application/octet-stream")


def answers_of(card: ModelCard, body: bytes) -> list[envelope.Opened]:
    """The right heads and arrays for a request's body."""
    head = {"ok": True, "batch": BATCH, "inference_ms": INFERENCE_MS, "worker_bytes": WORKER_BYTES}
    return [
        (dict(head), expected(card, arrays["picture"], asked.get("question", "answer")))
        for asked, arrays in envelope.unpack_all(body)
    ]


def expected(card: ModelCard, picture: envelope.Array, question: Question) -> dict[str, Any]:
    """The arrays that the fake tells of a picture."""
    scores = expected_scores(card, picture)
    mask = {"mask": expected_mask(card, picture), "class_scores": scores} if card.task == "segmentation" else {}
    random = np.random.default_rng(zlib.crc32(picture.tobytes()))
    maps = random.normal(size=(card.network.classes, 2, 2)).astype(np.float32)
    blocks = np.full((3, 2), 0.5, np.float32)
    answers: dict[Question, dict[str, Any]] = {
        "answer": mask or {"scores": scores},
        "confidence": {**mask, "confidence": picture[..., 1]},
        "best": {**mask, "confidence": picture[..., 2]},
        "embedding": {"embedding": random.random(16).astype(np.float32)},
        "explanation": {
            "scores": scores,
            "maps": maps,
            "bias": np.zeros(card.network.classes, np.float32),
            **{"splits": blocks, "spread": blocks, "stage": np.array([1, 1, 2], np.uint8)},
        },
    }
    return answers[question]


async def _answer(_fake: FakeTorchServe, _request: web.Request, card: ModelCard, body: bytes) -> web.StreamResponse:
    await asyncio.sleep(INFERENCE_MS / 1000)  # it takes the time that it says
    return _envelopes(answers_of(card, body))


async def _slow(fake: FakeTorchServe, request: web.Request, card: ModelCard, body: bytes) -> web.StreamResponse:
    fake.waiting += 1
    try:
        await fake.release.wait()
    finally:
        fake.waiting -= 1
    return await _answer(fake, request, card, body)


async def _reset(_fake: FakeTorchServe, request: web.Request, _card: ModelCard, _body: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _cut(_fake: FakeTorchServe, request: web.Request, card: ModelCard, body: bytes) -> web.StreamResponse:
    frame = b"".join(envelope.pack(head, arrays) for head, arrays in answers_of(card, body))
    response = web.StreamResponse(headers={"Content-Length": str(len(frame))})
    await response.prepare(request)
    await response.write(frame[: len(frame) // 2])
    assert request.transport is not None
    request.transport.abort()
    return response


async def _not_http(_fake: FakeTorchServe, request: web.Request, _card: ModelCard, _body: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"SSH-2.0-nonsense\r\n\r\n")
    request.transport.close()
    return web.Response()


def _changed(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Behaviour:
    async def behave(_fake: FakeTorchServe, _request: web.Request, card: ModelCard, body: bytes) -> web.StreamResponse:
        answers = answers_of(card, body)
        for head, arrays in answers:
            change(head, arrays)
        return _envelopes(answers)

    return behave


async def _last_wrong(_fake: FakeTorchServe, _request: web.Request, card: ModelCard, body: bytes) -> web.StreamResponse:
    answers = answers_of(card, body)
    _drop_a_class(*answers[-1])
    return _envelopes(answers)


async def _too_few(_fake: FakeTorchServe, _request: web.Request, card: ModelCard, body: bytes) -> web.StreamResponse:
    return _envelopes(answers_of(card, body)[1:])


async def _poisoned(fake: FakeTorchServe, request: web.Request, card: ModelCard, body: bytes) -> web.StreamResponse:
    if any((arrays["picture"] == POISON).all() for _, arrays in envelope.unpack_all(body)):
        return _error(500, "InternalServerException")
    return await _answer(fake, request, card, body)


def _fixed(make: Callable[[], web.Response]) -> Behaviour:
    async def behave(
        _fake: FakeTorchServe, _request: web.Request, _card: ModelCard, _body: bytes
    ) -> web.StreamResponse:
        return make()

    return behave


def _told(code: str) -> Behaviour:
    async def behave(_fake: FakeTorchServe, _request: web.Request, _card: ModelCard, body: bytes) -> web.StreamResponse:
        told = {"ok": False, "code": code, "detail": "the worker says so"}
        return _envelopes([(told, {}) for _ in envelope.unpack_all(body)])

    return behave


def _drop_a_class(_head: dict[str, Any], arrays: dict[str, Any]) -> None:
    name = "scores" if "scores" in arrays else "class_scores"
    arrays[name] = arrays[name][:-1]


def _not_a_number(_head: dict[str, Any], arrays: dict[str, Any]) -> None:
    first = next(iter(arrays.values()))
    first[...] = np.nan if first.dtype == np.float32 else 255


def _wider(_head: dict[str, Any], arrays: dict[str, Any]) -> None:
    for name in ("mask", "scores"):
        if name in arrays:
            arrays[name] = np.concatenate([arrays[name], arrays[name]], axis=-1)


def _negative_time(head: dict[str, Any], _arrays: dict[str, Any]) -> None:
    head["inference_ms"] = -1


def _no_batch(head: dict[str, Any], _arrays: dict[str, Any]) -> None:
    del head["batch"]


BEHAVIOURS: dict[str, Behaviour] = {
    "answer": _answer,
    "slow": _slow,
    "reset": _reset,
    "cut": _cut,
    "not_http": _not_http,
    "queue_full": _fixed(lambda: _error(503, "ServiceUnavailableException")),
    "prediction_failed": _fixed(lambda: _error(503, "InternalServerException")),
    "worker_died": _fixed(lambda: _error(500, "InternalServerException")),
    "out_of_memory": _fixed(lambda: _error(507, "InternalServerException")),
    "not_registered": _fixed(lambda: _error(404, "ModelNotFoundException")),
    "too_large": _fixed(lambda: _error(413, "RequestEntityTooLargeException")),
    "redirect": _fixed(lambda: web.Response(status=302, headers={"Location": "/elsewhere"})),
    "nonsense": _fixed(lambda: web.Response(body=b"hello")),
    "empty": _fixed(lambda: web.Response(body=b"")),
    "says_internal": _told("internal"),
    "says_corrupt": _told("image_corrupt"),
    "says_late": _told("deadline_exceeded"),
    "says_unknown": _told("something_new"),
    "wrong_length": _changed(_drop_a_class),
    "wider": _changed(_wider),
    "not_a_number": _changed(_not_a_number),
    "negative_time": _changed(_negative_time),
    "no_batch": _changed(_no_batch),
    "nonsense_about_the_last": _last_wrong,
    "one_too_few": _too_few,
    "dies_of_poison": _poisoned,
}
