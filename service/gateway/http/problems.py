"""Every failure as a problem document (RFC 9457): ours, the framework's, and a crash."""

import re
from collections.abc import Iterable, Mapping, Sequence
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
from service.gateway.http.media_types import accepted
from service.gateway.metrics import Metrics

MEDIA_TYPE = "application/problem+json"
PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ClientGoneError(Exception):
    """The connection closed before the answer; nobody is there to tell."""


def respond(metrics: Metrics, scope: Scope, error: ServiceError, headers: Mapping[str, str] | None = None) -> Response:
    """The response to the request of that scope that tells `error`, counted."""
    metrics.problems.labels(error.code()).inc()
    content = orjson.dumps(document(scope["path"], error, scope["state"]["request_id"]))
    return Response(content, error.status, headers={**headers_of(error), **(headers or {})}, media_type=MEDIA_TYPE)


def document(path: str, error: ServiceError, request_id: str) -> dict[str, Any]:
    """What is told of an error to who asked for that path."""
    told = {**error.problem(), "request_id": request_id}
    if path.startswith("/v2"):  # clients of the Open Inference Protocol read no other member
        told["error"] = error.detail
    return told


def headers_of(error: ServiceError) -> dict[str, str]:
    """The headers that tell of an error beside its document."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, UnsupportedMediaType):
        headers["Accept-Post"] = ", ".join(accepted())  # RFC 9110 says it for POST, as Accept-Patch for PATCH
    return headers


async def on_service_error(request: Request, error: Exception) -> Response:
    """Our own errors."""
    return _tell(request, cast("ServiceError", error))


async def on_http_error(request: Request, error: Exception) -> Response:
    """The framework's errors: a path that is not there, a method that is not."""
    raised = cast("HTTPException", error)
    headers = dict(raised.headers or {})
    if raised.status_code == 404:
        return _tell(request, RouteNotFound("Nothing is served at this path."))
    if raised.status_code == 405:
        allowed = _allowed(headers.get("Allow", ""))
        return _tell(request, MethodNotAllowed(f"This path allows {allowed}."), {"Allow": allowed})
    return _tell(request, Internal("The framework refused the request."))


async def on_invalid(request: Request, error: Exception) -> Response:
    """Parameters that do not fit their description, one row each, without their values."""
    mistakes = cast("RequestValidationError", error).errors()
    return _tell(request, misfits((each["loc"][1:], each["msg"]) for each in mistakes))


def misfits(mistakes: Iterable[tuple[Sequence[int | str], str]]) -> InvalidParameter:
    """The error of parameters that do not fit: where each is, its name first, and what is wrong with it."""
    rows = [{"parameter": _name(place), "detail": detail} for place, detail in mistakes]
    return InvalidParameter(f"{len(rows)} of the parameters cannot be used.", errors=rows)


def invalid(parameter: str, detail: str, **bounds: int) -> InvalidParameter:
    """The error of one parameter that only the model can judge."""
    return InvalidParameter(detail, errors=[{"parameter": parameter, "detail": detail}], **bounds)


def _tell(request: Request, error: ServiceError, headers: Mapping[str, str] | None = None) -> Response:
    return respond(request.app.state.gateway.metrics, request.scope, error, headers)


def _name(place: Sequence[int | str]) -> str:
    """The parameter's name; an unknown one is told only if it looks like a name."""
    name = ".".join(str(step) for step in place[:1])
    return name if PARAMETER.fullmatch(name) else "query"


def _allowed(methods: str) -> str:
    """In a fixed order, with HEAD, which every GET route answers."""
    names = {name.strip() for name in methods.split(",")}
    return ", ".join(sorted(names | {"HEAD"} if "GET" in names else names))
