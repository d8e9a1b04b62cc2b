"""Render every failure as a problem document (RFC 9457): the service's, the framework's, and crashes."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service.errors import (
    Internal,
    InvalidParameter,
    MethodNotAllowed,
    RouteNotFound,
    ServiceError,
    UnsupportedMediaType,
)
from service.gateway.http import mistakes
from service.gateway.http.media_types import accepted
from service.gateway.http.near_routes import NearRoutes
from service.gateway.metrics import PROBES, Metrics

MEDIA_TYPE = "application/problem+json"
# Names in a request's state: the protocol sets the first when the client disconnects, and then calls the second.
DISCONNECTED, ON_DISCONNECT = "disconnected", "on_disconnect"


class ClientGoneError(Exception):
    """The client closed the connection before the response, so no response can be sent."""


def respond(metrics: Metrics, scope: Scope, error: ServiceError, headers: Mapping[str, str] | None = None) -> Response:
    """Count `error`, except that of a probe, and return the problem response for the request of that scope."""
    code = scope["state"]["code"] = error.code()
    if scope["state"].get("route") not in PROBES:
        metrics.problems.labels(code).inc()
    content = orjson.dumps(document(scope["path"], error, scope["state"]["request_id"]))
    return Response(content, error.status, headers={**headers_of(error), **(headers or {})}, media_type=MEDIA_TYPE)


def document(path: str, error: ServiceError, request_id: str) -> dict[str, Any]:
    """Return the problem document of an error at that path."""
    problem = {**error.problem(), "request_id": request_id}
    if path.startswith("/v2"):  # clients of the Open Inference Protocol read only this member
        problem["error"] = error.detail
    return problem


def headers_of(error: ServiceError) -> dict[str, str]:
    """Return the headers of an error's response, beside its document."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, UnsupportedMediaType):
        headers["Accept-Post"] = ", ".join(accepted())  # for POST what Accept-Patch is for PATCH
    return headers


async def on_service_error(request: Request, error: Exception) -> Response:
    """Respond to one of the service's own errors."""
    return _respond(request, cast("ServiceError", error))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Respond to the framework's errors: an unknown path, or a method that the path does not allow."""
    raised = cast("HTTPException", error)
    headers = dict(raised.headers or {})
    if raised.status_code == 404:
        near_routes: NearRoutes = request.app.state.near_routes
        return _respond(request, RouteNotFound(near_routes.explain(request.method, request.scope["path"])))
    if raised.status_code == 405:
        allowed = _allowed(headers.get("Allow", ""))
        detail = f"Use {allowed.replace(', ', ' or ')}: this path allows no other method. See /docs."
        return _respond(request, MethodNotAllowed(detail), {"Allow": allowed})
    return _respond(request, Internal("The framework rejected the request."))


async def on_invalid(request: Request, error: Exception) -> Response:
    """Respond to invalid parameters: one entry each, without the values."""
    found = cast("RequestValidationError", error).errors()
    return _respond(request, invalid_parameters((each["loc"][1:], mistakes.describe(each)) for each in found))


def invalid_parameters(found: Iterable[tuple[Sequence[int | str], str]]) -> InvalidParameter:
    """Return the error for invalid parameters, from the location of each (its name first) and its description.

    It has the first `MAX_ROWS` of them.
    """
    first = islice(found, mistakes.MAX_ROWS)
    return InvalidParameter.of((_name(location), detail) for location, detail in first)


def _respond(request: Request, error: ServiceError, headers: Mapping[str, str] | None = None) -> Response:
    return respond(request.app.state.components.metrics, request.scope, error, headers)


def _name(location: Sequence[int | str]) -> str:
    """Return the parameter's name, or `query` if it does not look like a name."""
    name = ".".join(str(step) for step in location[:1])
    return name if mistakes.NAME.fullmatch(name) else "query"


def _allowed(methods: str) -> str:
    """Sort the methods, and add HEAD, which every GET route supports."""
    names = {name.strip() for name in methods.split(",")}
    return ", ".join(sorted(names | {"HEAD"} if "GET" in names else names))
