"""The short way to the routes that pictures come by, past FastAPI's routing and its resolving of dependencies.

Both are made anew for every request, and take as much of a processor as a whole refusal does without them (decision
0044). FastAPI has these routes too: it describes them, and answers every method but POST.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import signature
from typing import Any, Final, NamedTuple, get_origin, get_type_hints

from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError
from service.gateway.components import Gateway
from service.gateway.http.problems import misfits, respond
from service.gateway.metrics import Metrics

TAKEN: Final = ["request", "query", "gateway"]  # by an endpoint that can be called like this

Endpoint = Callable[[Request, Any, Gateway], Awaitable[Response]]


class Short(NamedTuple):
    """An endpoint, the model of its query, and which of the query's parameters may be repeated."""

    endpoint: Endpoint
    query: type[BaseModel]
    repeated: frozenset[str]
    usual: BaseModel  # where nothing is sent

    def read(self, text: bytes) -> BaseModel:
        """The query, as FastAPI reads it. Raises `InvalidParameter`."""
        if not text:
            return self.usual
        sent = QueryParams(text)
        values = {name: sent.getlist(name) if name in self.repeated else sent[name] for name in sent}
        try:
            return self.query.model_validate(values)
        except ValidationError as error:
            raise misfits((each["loc"], each["msg"]) for each in error.errors()) from None


class FastPathMiddleware:
    """Calls the endpoints that need nothing but their query, and leaves everything else to FastAPI."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], metrics: Metrics) -> None:
        """Of `routes`, those are taken that answer POST at one path and whose endpoint takes what `TAKEN` says."""
        self.app = app
        self._metrics = metrics
        self._short = short(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._short.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            query = found.read(scope["query_string"])
            response = await found.endpoint(request, query, scope["app"].state.gateway)
        except ServiceError as error:
            response = respond(self._metrics, scope, error)
        await response(scope, receive, send)


def short(routes: Iterable[BaseRoute]) -> Mapping[str, Short]:
    """By path, what `FastPathMiddleware` calls."""
    return {
        route.path: _short(route.endpoint)
        for route in routes
        if isinstance(route, APIRoute)
        and route.methods == {"POST"}
        and list(signature(route.endpoint).parameters) == TAKEN
    }


def _short(endpoint: Endpoint) -> Short:
    query = get_type_hints(endpoint)["query"]
    lists = (name for name, field in query.model_fields.items() if get_origin(field.annotation) is list)
    return Short(endpoint, query, frozenset(lists), query())
