"""From a request with images to the results of the models, with the headers that describe them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import orjson
from fastapi import Request
from starlette.datastructures import State
from starlette.responses import Response

from service.errors import NotAcceptable, Overloaded, ServiceError
from service.gateway.components import Components
from service.gateway.http import etag
from service.gateway.http.media_types import JSON, media_type
from service.gateway.http.negotiation import preferred
from service.gateway.http.problems import DISCONNECTED, ON_DISCONNECT, ClientGoneError
from service.gateway.inference.result import Result
from service.gateway.inference.versions import HEADER as VERSION
from service.gateway.metrics import STAGES
from service.gateway.scheduling import request_terms
from service.gateway.scheduling.admission import Reservation
from service.gateway.scheduling.background import is_background
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads import body as bodies
from service.gateway.uploads.parsers import image_bodies
from service.models.cards import ModelCard
from service.tasks import PREDICT

Value = TypeVar("Value")

CONTENT_TYPE_MISMATCH: Final = "content_type_mismatch"
ALIASES: Final = {"image/jpg": "image/jpeg", "image/x-ms-bmp": "image/bmp", "image/heif": "image/heic"}
ARRAYS: Final = orjson.OPT_SERIALIZE_NUMPY
REPORTED_STAGES: Final = ("decode", "queue", "inference")


@dataclass
class ImageResults:
    """The results of one request, and the seconds of each stage, those of the slowest image.

    `cards` are the models that answered. `named` are the same cards with labels in the language of the response.
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
        """Return the JSON response: `document` between the request's id and the times."""
        total = time.perf_counter() - self.started
        times = {"total": total, **{stage: self.stages.get(stage, 0.0) for stage in REPORTED_STAGES}}
        timing = {stage: round(seconds * 1000, 2) for stage, seconds in times.items()}
        body = orjson.dumps({"request_id": self.request_id, **document, "timing_ms": timing}, option=ARRAYS)
        return Response(body, media_type=JSON, headers=self.headers())

    def headers(self) -> dict[str, str]:
        """Return `Server-Timing` (milliseconds), the versions that answered, and what the response depends on."""
        total = time.perf_counter() - self.started
        rows = [(stage, self.stages[stage]) for stage in STAGES if stage in self.stages]
        timing = ", ".join(f"{stage};dur={seconds * 1000:.2f}" for stage, seconds in [*rows, ("total", total)])
        headers = {"Server-Timing": timing, "Vary": f"Accept, Accept-Language, {VERSION}"}
        headers[VERSION] = ", ".join(card.version for card in self.cards)
        if self.named:
            headers["Content-Language"] = ", ".join(dict.fromkeys(card.labels.language for card in self.named))
        return headers | self._cache_headers()

    def _cache_headers(self) -> dict[str, str]:
        """Return, with the response cache on, whether every result was cached (RFC 9211), and the entity tag."""
        if self.tag is None:
            return {}
        cached = all(result.cache_outcome != "miss" for result in self.results)
        return {
            "ETag": self.tag,
            "Cache-Control": "private, no-cache",
            "Cache-Status": f"resnest-service; {'hit' if cached else 'fwd=miss'}",
        }


def negotiate(accept: str | None, offers: Sequence[str]) -> str:
    """Return the media type of the response to a request with this `Accept` header. Raises `NotAcceptable`."""
    chosen = preferred(accept, offers)
    if chosen is None:
        raise NotAcceptable("None of the types in Accept can be sent.", accepted=list(offers))
    return chosen


@asynccontextmanager
async def infer_images(
    request: Request,
    components: Components,
    cards: Sequence[ModelCard],
    check: Callable[[int], object] | None = None,
    operation: str = PREDICT,
    body: image_bodies.BodyParser | None = None,
    parameters: Collection[str] = (),
) -> AsyncIterator[ImageResults]:
    """Yield the results of a request. Its uploads stay in memory for the body of the `with`.

    A body with one of the `parameters` is refused, and `check` may refuse the number of images. Raises `ServiceError`.
    """
    state, terms = request.state, request_terms.of(request, components.settings.max_request_timeout_s, operation)
    facts = state.facts = requested(cards)
    state.ends_early, state.is_background = any(map(terms.ends_early, cards)), is_background(terms.urgency)
    _check(request, components, cards, terms)
    with components.in_use.hold(cards), components.body_buffer.reserve() as reservation:
        body = body or image_bodies.parser_of(request.headers, components.settings.max_images, parameters)
        uploads, size, uploaded = await _read(request, components, reservation, body, terms)
        facts |= {"bytes": size, "images": len(uploads)}
        if check is not None:
            check(len(uploads))
        await state.permit.acquire(len(uploads) * len(cards))
        results = await unless_gone(state, components.inference.run(uploads, cards, state.request_id, terms))
        times = {"upload": uploaded, **slowest_stages(results)}
        facts |= logged(results, times)
        if len(results) == 1 and results[0].failure is not None:
            raise results[0].failure
        tag = checked_tag(request, components.registry.identities(cards), results, terms)
        yield ImageResults(state.request_id, state.started, terms, results, times, tag, cards)
        if copies := components.shadows.select(cards, results, terms):
            state.afterwards = partial(components.shadows.start, copies, state.request_id)


async def _read(
    request: Request,
    components: Components,
    reservation: Reservation,
    body: image_bodies.BodyParser,
    terms: RequestTerms,
) -> tuple[list[image_bodies.Upload], int, float]:
    """Return the uploads, the size of the body in bytes, and the seconds in which it arrived. Raises `ServiceError`."""
    state, metrics, settings = request.state, components.metrics, components.settings
    started = time.perf_counter()
    try:
        with metrics.tracing.stage("upload"):
            uploads, size = await bodies.read(
                request.receive, request.headers, settings, reservation, components.encoders, body, terms.end
            )
    finally:
        state.body_ended = time.perf_counter()
    metrics.upload_bytes.labels(state.route).observe(size)
    metrics.stages.labels("", "upload").observe(state.body_ended - started)
    return uploads, size, state.body_ended - started


def _check(request: Request, components: Components, cards: Sequence[ModelCard], terms: RequestTerms) -> None:
    """Raise `ModelRefused` or `Overloaded` if the models cannot take the request; repeat the latter for its like."""
    components.readiness.check_loaded(cards)
    try:
        components.inference.check(cards, terms)
    except Overloaded as error:
        models = [card.name for card in cards]
        components.metrics.count_offered(models)
        components.rejections.add(request.scope, error, models)
        raise


def requested(cards: Sequence[ModelCard]) -> dict[str, Any]:
    """Return the members of the request's log line that are known before its body: the models and their versions."""
    return {"model": ",".join(card.name for card in cards), "version": ",".join(card.version for card in cards)}


def logged(results: Sequence[Result], times: Mapping[str, float]) -> dict[str, Any]:
    """Return the members of the request's log line: the decoded pixels, failed results, and milliseconds by stage."""
    sizes = [result.facts for result in results if not isinstance(result.facts, ServiceError)]
    return {
        "pixels": sum(each.width * each.height for each in sizes),
        "failed": sum(result.failure is not None for result in results) or None,
        **{f"{stage}_ms": round(seconds * 1000, 2) for stage, seconds in times.items()},
    }


def slowest_stages(results: Sequence[Result]) -> dict[str, float]:
    """Return the seconds of each reported stage, those of the slowest image."""
    rows = [result.stages for result in results]
    return {stage: max(row[stage] for row in rows) for stage in REPORTED_STAGES}


def checked_tag(request: Request, models: Sequence[str], results: Sequence[Result], terms: RequestTerms) -> str | None:
    """Return the entity tag if every result can be cached, else None. Raises `PreconditionFailed`."""
    if not all(result.digest and result.is_complete for result in results):
        return None
    parts = [part.encode() for part in (terms.operation, *models)]
    tag = etag.entity_tag(request, [*parts, *(result.digest for result in results)])
    etag.check(request, tag)
    return tag


def failed(index: int, result: Result, error: ServiceError) -> dict[str, Any]:
    """Return a `FailedImage` document."""
    return {"index": index, "filename": result.upload.filename, "error": error.problem()}


def document_of(index: int, result: Result, **found: Any) -> dict[str, Any]:
    """Return one image's result: the facts of the upload around `found`, or the error that it failed with."""
    facts = result.facts
    if isinstance(facts, ServiceError):
        return failed(index, result, facts)
    image = {"width": facts.width, "height": facts.height, "format": facts.format, "mode": facts.mode}
    declared = result.upload.declared or ""
    named = ALIASES.get(declared, declared)
    wrong = named.startswith("image/") and named != media_type(facts.format)
    mismatch = [CONTENT_TYPE_MISMATCH] if wrong else []
    warnings = [*facts.warnings, *result.upload.warnings, *mismatch, *found.pop("warnings", ())]
    return {"index": index, "filename": result.upload.filename, "image": image, **found, "warnings": warnings}


async def unless_gone(state: State, work: Coroutine[Any, Any, Value]) -> Value:
    """Return what `work` returns. If the client disconnects first, cancel it and raise `ClientGoneError`.

    The protocol reports the disconnection through the request's state: to wait for its message takes a task.
    """
    if getattr(state, DISCONNECTED, False):
        work.close()
        raise ClientGoneError
    worker = asyncio.current_task()
    left = False

    def leave() -> None:
        nonlocal left
        left = worker is not None and worker.cancel()

    setattr(state, ON_DISCONNECT, leave)
    try:
        return await work
    except (asyncio.CancelledError, Exception):  # the work may turn a cancellation into another error
        if left and worker is not None and not worker.uncancel():
            raise ClientGoneError from None
        raise
    finally:
        delattr(state, ON_DISCONNECT)
