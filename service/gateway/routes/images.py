"""The routes that take images: one for each endpoint of each task, all served by the same code."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, TypeVar, cast

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from service.errors import DeadlineExceeded, MasksTooLarge, ServiceError, TooManyImages
from service.gateway.components import Components, ComponentsDep
from service.gateway.http.media_types import JSON
from service.gateway.http.negotiation import localize
from service.gateway.inference.registry import name_of
from service.gateway.inference.result import Result
from service.gateway.routes.image_results import (
    ImageResults,
    document_of,
    failed,
    infer_images,
    negotiate,
    unless_gone,
)
from service.gateway.uploads.decode_queue import is_large
from service.models.cards import ModelCard
from service.tasks import TASKS
from service.tasks.base import DecodedFacts, Drawn, Endpoint, ModelOutput, Painting, Rendering, Task, invalid

Value = TypeVar("Value")
Render = Callable[[DecodedFacts, ModelOutput, Drawn], Value]
Serve = Callable[[Request, Any, Components], Awaitable[Response]]
# The members of a result that come from one model, or why there are none.
Block = dict[str, Any] | ServiceError

# The most work for the masks of one request, in decoded pixels that take as long: a minute of one core.
MAX_PAINTING_PIXELS: Final = 3_000_000_000
ONE_MODEL: Final = "This endpoint takes one model."


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
    if any("," in name for name in query.model):
        several = "Repeat the parameter for several models, as in model=a&model=b."
        raise invalid("model", f"A name has no comma. {several if endpoint.compares_models else ONE_MODEL}")
    cards = components.versions.choose(request, task.name, query.model, endpoint.operation(query))
    if len(cards) > 1 and not endpoint.compares_models:
        raise invalid("model", ONE_MODEL, limit=1, actual=len(cards))
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
            renderer = Renderer(components, cards, found, rendering.alone(chosen))
            content = await unless_gone(request.state, renderer.file())
            return Response(content, media_type=chosen, headers=found.headers())
        named = localize(request, query.lang, cards) if endpoint.has_labels else cards
        found.named = named if endpoint.has_labels else ()
        if endpoint.is_light:
            blocks = [light_blocks(named, rendering, result) for result in found.results]
        else:
            renderer = Renderer(components, cards, found, rendering)
            blocks = await unless_gone(request.state, renderer.blocks(named))
        return found.respond(compared(named, found, blocks) if len(cards) > 1 else document(named[0], found, blocks))


def compared(named: Sequence[ModelCard], found: ImageResults, blocks: Sequence[Sequence[Block]]) -> dict[str, Any]:
    """Return the results of several models side by side, without id and times."""

    def one(index: int, result: Result) -> dict[str, Any]:
        pairs = zip(named, blocks[index], strict=False)  # no blocks where the image was not decoded
        models = [
            {"model": name_of(card), **({"error": block.problem()} if isinstance(block, ServiceError) else block)}
            for card, block in pairs
        ]
        warnings = dict.fromkeys(code for model in models for code in model.pop("warnings", ()))
        return document_of(index, result, models=models, warnings=warnings)

    results = [one(index, result) for index, result in enumerate(found.results)]
    return {"models": [name_of(card) for card in named], "results": results}


def document(named: ModelCard, found: ImageResults, blocks: Sequence[Sequence[Block]]) -> dict[str, Any]:
    """Return the results of one model, without id and times.

    Raises the `ServiceError` of the only image, where that cannot be rendered.
    """

    def one(index: int, result: Result) -> dict[str, Any]:
        block = result.failure or blocks[index][0]
        if not isinstance(block, ServiceError):
            return document_of(index, result, **block)
        if len(found.results) == 1:
            raise block
        return failed(index, result, block)

    return {"model": name_of(named), "results": [one(index, result) for index, result in enumerate(found.results)]}


def light_blocks(named: Sequence[ModelCard], rendering: Rendering, result: Result) -> list[Block]:
    """Return what the event loop renders of one image's outputs, a block for each model."""

    def one(card: ModelCard, output: ModelOutput | ServiceError) -> Block:
        if isinstance(output, ServiceError):
            return output
        try:
            return rendering.members(card, cast("DecodedFacts", result.facts), output, Drawn())
        except ServiceError as error:
            return error

    return [one(card, output) for card, output in zip(named, result.outputs, strict=False)]


class Renderer:
    """Renders the outputs of one request, each within the request's deadline.

    Layers are drawn over the upload in a decode process. Masks are painted there too, unless those of the whole request
    are small: then a thread paints them in less time than it takes to hand them over. The gateway itself never paints
    what a process could not.
    """

    def __init__(
        self, components: Components, cards: Sequence[ModelCard], found: ImageResults, rendering: Rendering
    ) -> None:
        """Plan the masks of all images by all `cards`, in their order, up to `MAX_PAINTING_PIXELS`."""
        self._components = components
        self._cards = cards
        self._found = found
        self._rendering = rendering
        self._pixels = 0  # the work that the request's masks take
        self._paintings = [
            [self._planned(card, result, output) for card, output in zip(cards, result.outputs, strict=False)]
            for result in found.results
        ]

    async def file(self) -> bytes:
        """Return the file that is the whole response to one image. Raises `ServiceError`."""
        return await self._rendered(0, 0, partial(self._rendering.file, self._cards[0]))

    async def blocks(self, named: Sequence[ModelCard]) -> list[list[Block]]:
        """Return for each image a block for each model, with the labels of `named`."""

        async def one(index: int, model: int) -> Block:
            try:
                return await self._rendered(index, model, partial(self._rendering.members, named[model]))
            except ServiceError as error:
                return error

        rows = ([one(index, model) for model in range(len(row))] for index, row in enumerate(self._paintings))
        return await asyncio.gather(*(asyncio.gather(*row) for row in rows))

    def _planned(
        self, card: ModelCard, result: Result, output: ModelOutput | ServiceError
    ) -> Painting | ServiceError | None:
        """Return the masks to paint, or why an output cannot be rendered."""
        if isinstance(output, ServiceError):
            return output
        try:
            painting = self._rendering.painting(card, cast("DecodedFacts", result.facts), output)
        except ServiceError as error:
            return error
        pixels = self._pixels + (painting.pixels if painting else 0)
        if pixels > MAX_PAINTING_PIXELS:
            detail = "The masks before these take all the time that one request has. Ask for fewer images or models."
            return MasksTooLarge(detail, limit=MAX_PAINTING_PIXELS, actual=pixels)
        self._pixels = pixels
        return painting

    async def _rendered(self, index: int, model: int, render: Render[Value]) -> Value:
        """Return what `render` makes, in a thread, of one output. The time is recorded. Raises `ServiceError`."""
        result, card, painting = self._found.results[index], self._cards[model], self._paintings[index][model]
        if isinstance(painting, ServiceError):
            raise painting
        facts, output, content = cast(
            "tuple[DecodedFacts, ModelOutput, bytes]", (result.facts, result.outputs[model], result.upload.content)
        )
        started = time.perf_counter()
        turn = (card, self._found.terms, self._found.terms.deadline(card, asyncio.get_running_loop().time()))
        decode_queue, drawn = self._components.decode_queue, Drawn()
        with self._components.metrics.tracing.stage("encode"):
            if layers := self._rendering.layers(card, facts, output):
                drawn = Drawn(await decode_queue.draw(content, layers, *turn))
            if painting and is_large(self._pixels):
                drawn = replace(drawn, painted=await decode_queue.paint(painting, *turn))
            value = await self._in_thread(turn[-1], partial(render, facts, output, drawn))
        elapsed = time.perf_counter() - started
        self._components.metrics.stages.labels(card.name, "encode").observe(elapsed)
        self._found.stages["encode"] = max(elapsed, self._found.stages.get("encode", 0.0))
        return value

    async def _in_thread(self, deadline: float, work: Callable[[], Value]) -> Value:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._components.encoders.run(work)
        except TimeoutError:
            raise DeadlineExceeded("The response was not rendered before the deadline.") from None
