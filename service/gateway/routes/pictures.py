"""What the routes for pictures share: the way from a request to results, and from results to a response."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

import orjson
from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive

from service.errors import NotAcceptable, Overloaded, ServiceError
from service.gateway.access.rate_limit import Permit
from service.gateway.backend.torchserve import Answer
from service.gateway.components import Gateway
from service.gateway.http import etag
from service.gateway.http.media_types import JSON, media_type
from service.gateway.http.negotiation import preferred
from service.gateway.http.problems import ClientGoneError
from service.gateway.inference.inference import Result
from service.gateway.inference.registry import name_of
from service.gateway.inference.versions import HEADER as VERSION
from service.gateway.metrics import STAGES
from service.gateway.scheduling import request_terms as terms
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads import body as uploads
from service.gateway.uploads.decode_queue import is_large
from service.imaging.mask_painting import Plan
from service.models.cards import ModelCard
from service.tasks.decoded import Drawn, Facts, Layer
from service.tasks.operations import Question

Value = TypeVar("Value")
Draw = Callable[[Facts, Answer, Drawn], Value]
Layers = Callable[[Facts, Answer], list[Layer]]
Planned = Callable[[Facts, Answer], Plan]

CONTENT_TYPE_MISMATCH = "content_type_mismatch"
ALIASES = {"image/jpg": "image/jpeg", "image/x-ms-bmp": "image/bmp", "image/heif": "image/heic"}
ARRAYS = orjson.OPT_SERIALIZE_NUMPY
TOLD_STAGES = ("decode", "queue", "inference")


@dataclass
class Answered:
    """A request's results, and the seconds of each stage, of several pictures the slowest one's.

    `cards` are the models that answered; `named` the same as their labels are told, where any are.
    """

    request_id: str
    started: float
    terms: RequestTerms
    results: list[Result]
    stages: dict[str, float]
    tag: str | None = None
    cards: Sequence[ModelCard] = ()
    named: Sequence[ModelCard] = ()

    def respond(self, document: dict[str, Any]) -> Response:
        """The JSON response: `document` with the request's id before it and the times behind."""
        total = time.perf_counter() - self.started
        times = {"total": total, **{stage: self.stages.get(stage, 0.0) for stage in TOLD_STAGES}}
        timing = {stage: round(seconds * 1000, 2) for stage, seconds in times.items()}
        body = orjson.dumps({"request_id": self.request_id, **document, "timing_ms": timing}, option=ARRAYS)
        return Response(body, media_type=JSON, headers=self.headers())

    def headers(self) -> dict[str, str]:
        """`Server-Timing` (milliseconds), the versions that answered, and what the response depends on."""
        total = time.perf_counter() - self.started
        rows = [(stage, self.stages[stage]) for stage in STAGES if stage in self.stages]
        timing = ", ".join(f"{stage};dur={seconds * 1000:.2f}" for stage, seconds in [*rows, ("total", total)])
        about = {"Server-Timing": timing, "Vary": f"Accept, Accept-Language, {VERSION}"}
        about[VERSION] = ", ".join(card.version for card in self.cards)
        if self.named:
            about["Content-Language"] = ", ".join(dict.fromkeys(card.labels.language for card in self.named))
        return about | self._about_keeping()

    def _about_keeping(self) -> dict[str, str]:
        """Where answers are kept: whether all of these were (RFC 9211), and what to ask with the next time."""
        if self.tag is None:
            return {}
        found = all(result.how != "miss" for result in self.results)
        return {
            "ETag": self.tag,
            "Cache-Control": "private, no-cache",
            "Cache-Status": f"resnest-service; {'hit' if found else 'fwd=miss'}",
        }


def negotiate(request: Request, offers: Sequence[str]) -> str:
    """The media type to answer with. Raises `NotAcceptable`."""
    chosen = preferred(request.headers.get("accept"), offers)
    if chosen is None:
        raise NotAcceptable("None of the types in Accept can be sent.", accepted=list(offers))
    return chosen


@asynccontextmanager
async def answered(
    request: Request,
    gateway: Gateway,
    cards: Sequence[ModelCard],
    check: Callable[[int], object] | None = None,
    question: Question = "answer",
    body: uploads.Body | None = None,
) -> AsyncIterator[Answered]:
    """The results of a request; its uploads stay in memory for the body of the `with`.

    `check` may refuse the number of pictures before any is decoded. Raises `ServiceError`: what a lone picture fails
    with fails the request.
    """
    asked = terms.of(request, gateway.settings.max_request_timeout_s, question)
    try:
        gateway.inference.check(cards, asked)
    except Overloaded as error:
        gateway.repeats.keep(request.scope, error)
        raise
    started = time.perf_counter()
    with gateway.memory.reserve() as reservation:
        pictures, size = await uploads.read(
            request.receive, request.headers, gateway.settings, reservation, gateway.encoders, asked.end, body
        )
        uploaded = time.perf_counter() - started
        gateway.metrics.upload_bytes.labels(request.state.route).observe(size)
        gateway.metrics.stages.labels("", "upload").observe(uploaded)
        if check is not None:
            check(len(pictures))
        visit: Permit = request.state.visit
        await visit.pay(len(pictures) * len(cards))
        request_id = request.state.request_id
        results = await unless_gone(request.receive, gateway.inference.run(pictures, cards, request_id, asked))
        if len(results) == 1 and results[0].failure is not None:
            raise results[0].failure
        slowest = {stage: max(result.stages[stage] for result in results) for stage in TOLD_STAGES}
        tag = checked_tag(request, gateway.catalogue.identities(cards), results, asked)
        yield Answered(request_id, request.state.started, asked, results, {"upload": uploaded, **slowest}, tag, cards)
        copies = gateway.shadows.copies(cards, results, asked)
        request.state.afterwards = partial(gateway.shadows.begin, copies, request_id)


def checked_tag(request: Request, models: Sequence[str], results: Sequence[Result], asked: RequestTerms) -> str | None:
    """The entity tag, where answers are kept and all of these are good. Raises `PreconditionFailed`."""
    if not all(result.digest and result.again() for result in results):
        return None
    parts = [part.encode() for part in (asked.question, *models)]
    tag = etag.tag_of(request, [*parts, *(result.digest for result in results)])
    etag.check(request, tag)
    return tag


def no_layers(_facts: Facts, _answer: Answer) -> list[Layer]:
    """For what is drawn without the upload."""
    return []


def failed(index: int, result: Result, error: ServiceError) -> dict[str, Any]:
    """A `schemas.FailedPicture`."""
    return {"index": index, "filename": result.upload.filename, "error": error.problem()}


def told(index: int, result: Result, **found: Any) -> dict[str, Any]:
    """A picture's result: the upload's facts around what was found in it, or why there are none."""
    facts = result.facts
    if isinstance(facts, ServiceError):
        return failed(index, result, facts)
    image = {"width": facts.width, "height": facts.height, "format": facts.format, "mode": facts.mode}
    declared = result.upload.declared or ""
    named = ALIASES.get(declared, declared)
    wrong = named.startswith("image/") and named != media_type(facts.format)
    warnings = [*facts.warnings, *([CONTENT_TYPE_MISMATCH] if wrong else [])]
    return {"index": index, "filename": result.upload.filename, "image": image, **found, "warnings": warnings}


async def encoded(
    gateway: Gateway,
    card: ModelCard,
    answers: Answered,
    index: int,
    draw: Draw[Value],
    layers: Layers = no_layers,
    planned: Planned | None = None,
) -> Value:
    """What `draw` makes, in a thread, of a picture that one model answered; the time is told.

    It is handed the files that `layers` made of the upload where that is decoded and, of a large picture, what was
    painted as `planned`: of a small one that takes less than the way to another process, and where it fails there the
    answer is not lost. Raises the `ServiceError` that `layers` raise.
    """
    result = answers.results[index]
    facts, answer, content = cast(
        "tuple[Facts, Answer, bytes]", (result.facts, result.answers[0], result.upload.content)
    )
    started = time.perf_counter()
    now = asyncio.get_running_loop().time()
    turn = (card, answers.terms, max(now + card.serving.deadline_s, answers.terms.deadline(card, now)))
    drawn = Drawn()
    if over := layers(facts, answer):
        drawn = Drawn(await gateway.decoders.draw(content, over, *turn))
    if planned is not None and is_large(facts.width * facts.height):
        with suppress(ServiceError):
            drawn = replace(drawn, painted=await gateway.decoders.paint(planned(facts, answer), *turn))
    value = await gateway.encoders.run(draw, facts, answer, drawn)
    elapsed = time.perf_counter() - started
    gateway.metrics.stages.labels(card.name, "encode").observe(elapsed)
    answers.stages["encode"] = max(elapsed, answers.stages.get("encode", 0.0))
    return value


async def pictured(
    gateway: Gateway,
    card: ModelCard,
    answers: Answered,
    draw: Draw[dict[str, Any]],
    layers: Layers = no_layers,
    planned: Planned | None = None,
) -> dict[str, Any]:
    """An answer by one model, with the members that `draw` makes of each picture; see `encoded`.

    Raises `ServiceError` where a lone picture cannot be drawn.
    """

    async def one(index: int, result: Result) -> dict[str, Any]:
        if result.failure is not None:
            return failed(index, result, result.failure)
        try:
            return told(index, result, **await encoded(gateway, card, answers, index, draw, layers, planned))
        except ServiceError as error:
            if len(answers.results) == 1:
                raise
            return failed(index, result, error)

    results = await asyncio.gather(*(one(index, result) for index, result in enumerate(answers.results)))
    return {"model": name_of(card), "results": results}


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Value]) -> Value:
    """What `work` gives; it is cancelled, and `ClientGoneError` raised, where the client leaves before."""
    worker = asyncio.current_task()
    gone = asyncio.create_task(_disconnect(receive))
    left = answered = False

    def leave(_gone: asyncio.Task[None]) -> None:
        nonlocal left
        if not answered and worker is not None:
            left = worker.cancel()

    gone.add_done_callback(leave)
    try:
        return await work
    except (asyncio.CancelledError, Exception):  # what the work makes of a cancellation is nobody's any more
        if left and worker is not None and not worker.uncancel():
            raise ClientGoneError from None
        raise
    finally:
        answered = True
        gone.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await gone


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
