"""The routes that take images: one for each endpoint of each task, all served by the same code."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeVar, cast

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from service.errors import ServiceError, TooManyImages
from service.gateway.components import Components, ComponentsDep
from service.gateway.http.media_types import JSON
from service.gateway.http.negotiation import localize
from service.gateway.inference.inference import Result
from service.gateway.inference.registry import name_of
from service.gateway.routes.image_results import ImageResults, document_of, failed, infer_images, negotiate
from service.gateway.uploads.decode_queue import is_large
from service.models.cards import ModelCard
from service.tasks import TASKS
from service.tasks.base import DecodedFacts, Drawn, Endpoint, ModelOutput, Rendering, Task, invalid

Value = TypeVar("Value")
Render = Callable[[DecodedFacts, ModelOutput, Drawn], Value]
Serve = Callable[[Request, Any, Components], Awaitable[Response]]


class ImageRoute(NamedTuple):
    """An endpoint of a task, and the function that serves it."""

    endpoint: Endpoint[Any]
    serve: Serve


def image_routes() -> list[ImageRoute]:
    """Return the routes of all registered tasks."""
    return [ImageRoute(each, partial(serve, task, each)) for task in TASKS.values() for each in task.endpoints]


def router_of(routes: Iterable[ImageRoute]) -> APIRouter:
    """Return FastAPI's routes, which describe the endpoints. `fast_path` serves them."""
    router = APIRouter(tags=["images"])
    for route in routes:
        endpoint = route.endpoint
        router.add_api_route(
            endpoint.path,
            _for_fastapi(endpoint.query, route.serve),
            methods=["POST"],
            name=endpoint.name,
            summary=endpoint.summary,
            description=endpoint.description,
        )
    return router


def _for_fastapi(model: type[BaseModel], serve: Serve) -> Callable[..., Awaitable[Response]]:
    async def call(request: Request, query: Annotated[model, Query()], components: ComponentsDep) -> Response:  # type: ignore[valid-type]
        return await serve(request, query, components)

    return call


async def serve(task: Task, endpoint: Endpoint[Any], request: Request, query: Any, components: Components) -> Response:
    """Serve one request to an endpoint. Raises `ServiceError`."""
    cards = components.versions.choose(request, task.name, query.model, endpoint.operation(query))
    if len(cards) > 1 and not endpoint.compares_models:
        raise invalid("model", "This endpoint takes one model.", limit=1, actual=len(cards))
    rendering = endpoint.plan(cards, query)
    offers = [JSON, *rendering.media_types]
    accept = request.headers.get("accept")
    negotiate(accept, offers)
    most = task.by_name[rendering.operation].max_images

    def media_type(images: int) -> str:
        if most is not None and images > most:
            detail = f"With these parameters a request has at most {most} images."
            raise TooManyImages(detail, limit=most, actual=images)
        return negotiate(accept, offers if images == 1 else [JSON])

    parameters = endpoint.query.model_fields.keys()
    work = infer_images(request, components, cards, media_type, rendering.operation, parameters=parameters)
    async with work as found:
        chosen = media_type(len(found.results))
        if chosen != JSON:
            alone = rendering.alone(chosen)
            content = await rendered(components, cards[0], found, 0, alone, partial(alone.file, cards[0]))
            return Response(content, media_type=chosen, headers=found.headers())
        named = localize(request, query.lang, cards) if endpoint.has_labels else cards
        found.named = named if endpoint.has_labels else ()
        if len(cards) > 1:
            side_by_side = partial(compared, named, rendering, found)
            return found.respond(side_by_side() if endpoint.is_light else await components.encoders.run(side_by_side))
        return found.respond(await documents(components, cards[0], named[0], found, endpoint, rendering))


def compared(named: Sequence[ModelCard], rendering: Rendering, found: ImageResults) -> dict[str, Any]:
    """Return the results of several models side by side, without id and times."""

    def one(index: int, result: Result) -> dict[str, Any]:
        pairs = zip(named, result.outputs, strict=False)  # no outputs where the image was not decoded
        blocks = [{"model": name_of(card), **_members(card, rendering, result, output)} for card, output in pairs]
        warnings = dict.fromkeys(code for block in blocks for code in block.pop("warnings", ()))
        return document_of(index, result, models=blocks, warnings=warnings)

    results = [one(index, result) for index, result in enumerate(found.results)]
    return {"models": [name_of(card) for card in named], "results": results}


def _members(
    card: ModelCard, rendering: Rendering, result: Result, output: ModelOutput | ServiceError
) -> dict[str, Any]:
    if isinstance(output, ServiceError):
        return {"error": output.problem()}
    try:
        return rendering.members(card, cast("DecodedFacts", result.facts), output, Drawn())
    except ServiceError as error:
        return {"error": error.problem()}


async def documents(
    components: Components,
    card: ModelCard,
    named: ModelCard,
    found: ImageResults,
    endpoint: Endpoint[Any],
    rendering: Rendering,
) -> dict[str, Any]:
    """Return the results of one model, without id and times.

    Raises the `ServiceError` of the only image, where that cannot be rendered.
    """
    members = partial(rendering.members, named)

    async def one(index: int, result: Result) -> dict[str, Any]:
        if result.failure is not None:
            return failed(index, result, result.failure)
        try:
            return document_of(index, result, **await rendered(components, card, found, index, rendering, members))
        except ServiceError as error:
            if len(found.results) == 1:
                raise
            return failed(index, result, error)

    if endpoint.is_light:
        results = [_light(named, rendering, index, result) for index, result in enumerate(found.results)]
    else:
        results = await asyncio.gather(*(one(index, result) for index, result in enumerate(found.results)))
    return {"model": name_of(named), "results": results}


def _light(card: ModelCard, rendering: Rendering, index: int, result: Result) -> dict[str, Any]:
    if result.failure is not None:
        return failed(index, result, result.failure)
    return document_of(index, result, **_members(card, rendering, result, result.outputs[0]))


async def rendered(
    components: Components,
    card: ModelCard,
    found: ImageResults,
    index: int,
    rendering: Rendering,
    render: Render[Value],
) -> Value:
    """Return what `render` makes, in a thread, of one image's output. The time is recorded.

    Layers are drawn over the upload in a decode process, and so are large masks painted there. Small masks take less
    time than handing them over. Raises the `ServiceError` of the layers; where painting fails in the
    process, the thread paints.
    """
    result = found.results[index]
    facts, output, content = cast(
        "tuple[DecodedFacts, ModelOutput, bytes]", (result.facts, result.outputs[0], result.upload.content)
    )
    started = time.perf_counter()
    now = asyncio.get_running_loop().time()
    turn = (card, found.terms, max(now + card.serving.deadline_s, found.terms.deadline(card, now)))
    drawn = Drawn()
    with components.metrics.tracing.stage("encode"):
        if layers := rendering.layers(card, facts, output):
            drawn = Drawn(await components.decode_queue.draw(content, layers, *turn))
        if (painting := rendering.painting(card, facts, output)) and is_large(painting.pixels):
            with suppress(ServiceError):
                drawn = replace(drawn, painted=await components.decode_queue.paint(painting, *turn))
        value = await components.encoders.run(render, facts, output, drawn)
    elapsed = time.perf_counter() - started
    components.metrics.stages.labels(card.name, "encode").observe(elapsed)
    found.stages["encode"] = max(elapsed, found.stages.get("encode", 0.0))
    return value
