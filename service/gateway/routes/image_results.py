"""From a request with images to the results of the models, with the headers that describe them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import orjson
from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive

from service.errors import NotAcceptable, Overloaded, ServiceError
from service.gateway.access.rate_limit import Permit
from service.gateway.components import Components
from service.gateway.http import etag
from service.gateway.http.media_types import JSON, media_type
from service.gateway.http.negotiation import preferred
from service.gateway.http.problems import ClientGoneError
from service.gateway.inference.inference import Result
from service.gateway.inference.versions import HEADER as VERSION
from service.gateway.metrics import STAGES
from service.gateway.scheduling import request_terms
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads import body as bodies
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


def negotiate(request: Request, offers: Sequence[str]) -> str:
    """Return the media type of the response. Raises `NotAcceptable`."""
    chosen = preferred(request.headers.get("accept"), offers)
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
    body: bodies.BodyParser | None = None,
) -> AsyncIterator[ImageResults]:
    """Yield the results of a request. Its uploads stay in memory for the body of the `with`.

    `check` may refuse the number of images before any is decoded. Raises `ServiceError`: an error of the only image is
    the error of the request.
    """
    terms = request_terms.of(request, components.settings.max_request_timeout_s, operation)
    try:
        components.inference.check(cards, terms)
    except Overloaded as error:
        components.rejections.add(request.scope, error)
        raise
    started = time.perf_counter()
    with components.body_buffer.reserve() as reservation:
        uploads, size = await bodies.read(
            request.receive, request.headers, components.settings, reservation, components.encoders, terms.end, body
        )
        uploaded = time.perf_counter() - started
        components.metrics.upload_bytes.labels(request.state.route).observe(size)
        components.metrics.stages.labels("", "upload").observe(uploaded)
        if check is not None:
            check(len(uploads))
        permit: Permit = request.state.permit
        await permit.acquire(len(uploads) * len(cards))
        request_id = request.state.request_id
        results = await unless_gone(request.receive, components.inference.run(uploads, cards, request_id, terms))
        if len(results) == 1 and results[0].failure is not None:
            raise results[0].failure
        times = {stage: max(result.stages[stage] for result in results) for stage in REPORTED_STAGES}
        tag = checked_tag(request, components.registry.identities(cards), results, terms)
        yield ImageResults(request_id, request.state.started, terms, results, {"upload": uploaded, **times}, tag, cards)
        copies = components.shadows.select(cards, results, terms)
        request.state.afterwards = partial(components.shadows.start, copies, request_id)


def checked_tag(request: Request, models: Sequence[str], results: Sequence[Result], terms: RequestTerms) -> str | None:
    """Return the entity tag if every result can be cached, else None. Raises `PreconditionFailed`."""
    if not all(result.digest and result.cacheable() for result in results):
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
    warnings = [*facts.warnings, *([CONTENT_TYPE_MISMATCH] if wrong else [])]
    return {"index": index, "filename": result.upload.filename, "image": image, **found, "warnings": warnings}


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Value]) -> Value:
    """Return what `work` returns. If the client disconnects first, cancel it and raise `ClientGoneError`."""
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
    except (asyncio.CancelledError, Exception):  # the work may turn a cancellation into another error
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
