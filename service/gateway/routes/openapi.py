"""The OpenAPI 3.1 description: FastAPI adds paths and parameters, this module bodies, responses and problems."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import errors
from service.errors import ServiceError
from service.gateway.access.authorization import all_rules
from service.gateway.http import problems
from service.gateway.http.media_types import JSON, MULTIPART, OCTETS, media_type
from service.gateway.inference.versions import HEADER as VERSION
from service.gateway.routes import examples, problem_pages
from service.gateway.routes.schemas import Live, ModelDetail, ModelList, Ready, Traffic
from service.gateway.routes.v2_schemas import (
    InferResponse,
    ModelReady,
    ModelTensors,
    ServerFacts,
    ServerLive,
    ServerReady,
    TensorRequest,
)
from service.imaging import decoder
from service.tasks import TASKS
from service.tasks.shapes import ImagesBody, Problem

REF = "#/components/schemas/{model}"

UPLOAD = (
    errors.Unauthenticated,
    errors.Forbidden,
    errors.EmptyBody,
    errors.MalformedJson,
    errors.MalformedMultipart,
    errors.InvalidBase64,
    errors.InvalidHeader,
    errors.ModelNotFound,
    errors.NotAcceptable,
    errors.UploadTimeout,
    errors.PreconditionFailed,
    errors.BodyTooLarge,
    errors.ImageTooLarge,
    errors.TooManyImages,
    errors.UnsupportedMediaType,
    errors.InvalidParameter,
    errors.ImageCorrupt,
    errors.ImageTooSmall,
    errors.ImageTooCostly,
    errors.ImageModeUnsupported,
    errors.RateLimited,
    errors.ConcurrencyLimited,
    errors.Internal,
    errors.BackendBadResponse,
    errors.Overloaded,
    errors.BackendUnavailable,
    errors.RateLimitsUnavailable,
    errors.KeysUnavailable,
    errors.DeadlineExceeded,
)
DISCOVERY = (
    errors.Unauthenticated,
    errors.RateLimited,
    errors.ConcurrencyLimited,
    errors.Internal,
    errors.RateLimitsUnavailable,
    errors.KeysUnavailable,
)

OPERATORS = (errors.Unauthenticated, errors.Forbidden, errors.Internal, errors.KeysUnavailable)
NOT_READY = (errors.BackendUnavailable, errors.Draining, errors.Internal)

DESCRIPTION = """You send an image as the raw body, as the field `file` of a form, or as base64 in JSON. It is never
fetched from a URL. Every failure is an RFC 9457 problem document: branch on its `code`. An unknown path is answered
with `route_not_found`, a method that a path does not have with `method_not_allowed`.

"""


@dataclass(frozen=True)
class RouteDescription:
    """The responses of a route, with an example for each, and the problems that it can report."""

    responses: tuple[type[BaseModel], ...]
    problems: tuple[type[ServiceError], ...] = (errors.Internal,)
    takes_images: bool = False
    takes_tensors: bool = False
    other_content: Mapping[str, Any] | None = None


TEXT_CONTENT = {"text/plain": {"schema": {"type": "string"}}}

HEADERS = [
    {
        "name": "Request-Timeout",
        "in": "header",
        "description": "Maximum time in seconds, from the request's first byte. Default: the model's deadline.",
        "schema": {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,6})?$", "examples": ["2.5"]},
    },
    {
        "name": VERSION,
        "in": "header",
        "description": "Version of the model. Default: chosen by the operator's traffic shares.",
        "schema": {"type": "string", "examples": ["1.0"]},
    },
    {
        "name": "Priority",
        "in": "header",
        "description": "Urgency of the request (RFC 9218), from u=0, the most urgent, to u=7. Default: u=3.",
        "schema": {"type": "string", "examples": ["u=6"]},
    },
]

SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the identity provider that the service trusts, if it requires one.",
    },
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

# Beside the routes of the tasks.
OPERATIONS: dict[tuple[str, str], RouteDescription] = {
    ("/v1/models", "get"): RouteDescription((ModelList,), DISCOVERY),
    ("/v1/models/{name}", "get"): RouteDescription((ModelDetail,), (*DISCOVERY, errors.ModelNotFound)),
    ("/v1/traffic", "get"): RouteDescription((Traffic,), OPERATORS),
    ("/v2", "get"): RouteDescription((ServerFacts,), DISCOVERY),
    ("/v2/health/live", "get"): RouteDescription((ServerLive,)),
    ("/v2/health/ready", "get"): RouteDescription((ServerReady,), NOT_READY),
    ("/v2/models/{name}", "get"): RouteDescription((ModelTensors,), (*DISCOVERY, errors.ModelNotFound)),
    ("/v2/models/{name}/ready", "get"): RouteDescription((ModelReady,), (errors.ModelNotFound, *NOT_READY)),
    ("/v2/models/{name}/infer", "post"): RouteDescription(
        (InferResponse,),
        tuple(error for error in UPLOAD if error not in {errors.MalformedMultipart, errors.NotAcceptable}),
        takes_tensors=True,
        other_content={OCTETS: {"schema": {"type": "string", "contentMediaType": OCTETS}}},
    ),
    ("/livez", "get"): RouteDescription((Live,)),
    ("/readyz", "get"): RouteDescription((Ready,), NOT_READY),
    ("/metrics", "get"): RouteDescription((), OPERATORS, other_content=TEXT_CONTENT),
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi` give the whole description, built at the first call."""
    app.openapi = lambda: _cached(app)  # type: ignore[method-assign]


def _cached(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_introduction())
    routes, rules = descriptions(), all_rules()
    document["components"] = {"schemas": _schemas(routes.values()), "securitySchemes": SECURITY}
    for (path, method), description in routes.items():
        operation = document["paths"][path][method]
        if not rules[path].is_open:
            operation["security"] = [{name: []} for name in SECURITY]
        operation["responses"] = {"200": _success(description), **_failures(description.problems)}
        if description.takes_images or description.takes_tensors:
            operation["requestBody"] = _request_body() if description.takes_images else _tensor_body()
            operation["parameters"] = [*operation.get("parameters", []), *HEADERS]
    return document


def _introduction() -> str:
    first, *others = (endpoint.name for task in TASKS.values() for endpoint in task.endpoints)
    listed = f"{', '.join([first, *others[:-1]])} and {others[-1]}" if others else first
    return f"{listed.capitalize()} images.\n\n{DESCRIPTION}{problem_pages.markdown_table()}"


def descriptions() -> dict[tuple[str, str], RouteDescription]:
    """Return the description of each route by path and method: those of the tasks, and `OPERATIONS`."""
    of_tasks = {
        (endpoint.path, "post"): RouteDescription(
            endpoint.responses,
            UPLOAD,
            takes_images=True,
            other_content={
                kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in endpoint.image_types
            },
        )
        for task in TASKS.values()
        for endpoint in task.endpoints
    }
    return of_tasks | OPERATIONS


def _schemas(descriptions: Iterable[RouteDescription]) -> dict[str, Any]:
    """Return the schemas of all bodies by name. Where one names a task, the registered tasks are its values."""
    shapes = [shape for description in descriptions for shape in description.responses]
    known: list[type[BaseModel]] = [*dict.fromkeys(shapes), Problem, ImagesBody, TensorRequest]
    _, schemas = models_json_schema([(shape, "serialization") for shape in known], ref_template=REF)
    found: dict[str, Any] = schemas["$defs"]
    for schema in found.values():
        if "task" in schema.get("properties", {}):
            schema["properties"]["task"]["enum"] = list(TASKS)
    return found


def _success(description: RouteDescription) -> dict[str, Any]:
    content: dict[str, Any] = dict(description.other_content or {})
    if description.responses:
        known = examples.responses()
        shown = {shape.__name__: {"value": known[shape.__name__]} for shape in description.responses}
        content = {JSON: {"schema": _one_of(description.responses), "examples": shown}} | content
    return {"description": "The response.", "content": content}


def _failures(classes: Iterable[type[ServiceError]]) -> dict[str, Any]:
    """Return a response for each status, with an example for each of its problems."""
    by_status: dict[str, list[type[ServiceError]]] = {}
    for error in classes:
        by_status.setdefault(str(error.status), []).append(error)
    return {status: _problem_response(group) for status, group in sorted(by_status.items())}


def _problem_response(group: list[type[ServiceError]]) -> dict[str, Any]:
    shown = {error.code(): {"summary": error.title, "value": examples.problem(error)} for error in group}
    response: dict[str, Any] = {
        "description": " ".join(f"`{error.code()}`: {error.title}." for error in group),
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}, "examples": shown}},
    }
    if any(error.retry_after_s is not None for error in group):
        header = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        response["headers"] = {"Retry-After": header}
    return response


def _one_of(shapes: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    references = [{"$ref": REF.format(model=shape.__name__)} for shape in shapes]
    return references[0] if len(references) == 1 else {"oneOf": references}


def _request_body() -> dict[str, Any]:
    image = {"schema": {"type": "string", "contentMediaType": OCTETS}}
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": {"type": "string", "contentMediaType": OCTETS}}},
        "required": ["file"],
    }
    body = {"schema": {"$ref": REF.format(model="ImagesBody")}, "example": examples.request()}
    content = dict.fromkeys([*map(media_type, decoder.accepted_formats()), OCTETS], image)
    return {"required": True, "content": {**content, MULTIPART: {"schema": form}, JSON: body}}


def _tensor_body() -> dict[str, Any]:
    json = {"schema": {"$ref": REF.format(model="TensorRequest")}, "example": examples.tensors()}
    binary = {"schema": {"type": "string", "contentMediaType": OCTETS}}
    return {"required": True, "content": {JSON: json, OCTETS: binary}}
