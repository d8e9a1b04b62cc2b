"""The short path to the routes that take images, past FastAPI's routing and its dependency injection.

FastAPI does both for every request, and they cost as much processor time as a whole rejection does without them
(decision 0044). FastAPI has these routes too: it describes them, and answers every method but POST.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ServiceError
from service.gateway.http import mistakes
from service.gateway.http.problems import invalid_parameters, respond
from service.gateway.metrics import Metrics
from service.gateway.routes.images import ImageRoute, Serve


class FastRoute(NamedTuple):
    """The function that serves a route, the model of its query, and which parameters may be repeated."""

    serve: Serve
    query: type[BaseModel]
    repeated: frozenset[str]
    default: BaseModel  # for a request without a query

    def read(self, text: bytes) -> BaseModel:
        """Return the query as FastAPI reads it, but nothing twice that is no list. Raises `InvalidParameter`."""
        if not text:
            return self.default
        sent = QueryParams(text)
        values: dict[str, str | list[str]] = {name: sent[name] for name in sent if name not in self.repeated}
        values |= {name: sent.getlist(name) for name in self.repeated if name in sent}
        pairs = sent.multi_items()
        if len(pairs) > len(values):
            counts = Counter(name for name, _ in pairs)
            if twice := sorted(name for name in counts.keys() - self.repeated if counts[name] > 1):
                raise invalid_parameters(((name,), "It is given more than once.") for name in twice)
        try:
            return self.query.model_validate(values)
        except ValidationError as error:
            raise invalid_parameters(map(self._mistake, error.errors())) from None

    def _mistake(self, error: ErrorDetails) -> tuple[Sequence[int | str], str]:
        """Return the location and the description of a mistake. An unknown name gets the names that there are."""
        if error["type"] == mistakes.UNKNOWN:
            return error["loc"], mistakes.unknown(str(error["loc"][0]), list(self.query.model_fields))
        return error["loc"], mistakes.describe(error)


class FastPathMiddleware:
    """Serves POST requests to the routes that take images, and leaves everything else to FastAPI."""

    def __init__(self, app: ASGIApp, routes: Iterable[ImageRoute], metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics
        self._routes = {route.endpoint.path: _fast(route) for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            query = route.read(scope["query_string"])
            response = await route.serve(request, query, scope["app"].state.components)
        except ServiceError as error:
            response = respond(self._metrics, scope, error)
        await response(scope, receive, send)


def _fast(route: ImageRoute) -> FastRoute:
    query = route.endpoint.query
    lists = (name for name, field in query.model_fields.items() if get_origin(field.annotation) is list)
    return FastRoute(route.serve, query, frozenset(lists), query())
