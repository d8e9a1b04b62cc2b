"""The OpenAPI 3.1 description: FastAPI adds paths and parameters, this module bodies, responses and problems."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service import errors
from service.errors import ServiceError
from service.gateway.access.authorization import all_rules
from service.gateway.http import problems
from service.gateway.http.media_types import JSON, MULTIPART, OCTETS, media_type
from service.gateway.inference.versions import HEADER as VERSION
from service.gateway.routes import examples
from service.gateway.routes.open_inference.v2_schemas import (
    InferResponse,
    ModelReady,
    ModelTensors,
    ServerFacts,
    ServerLive,
    ServerReady,
    TensorRequest,
)
from service.gateway.routes.schema_documents import REF, binary, one_of, schemas, without_null
from service.gateway.routes.schemas import Live, ModelDetail, ModelList, Ready, Traffic
from service.imaging import decoder
from service.tasks import TASKS
from service.tasks.shapes import ImagesBody, Problem

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
    errors.ImageKindUnsupported,
    errors.InvalidParameter,
    errors.ImageCorrupt,
    errors.ImageTooSmall,
    errors.ImageTooCostly,
    errors.ImageModeUnsupported,
    errors.MasksTooLarge,
    errors.RateLimited,
    errors.ConcurrencyLimited,
    errors.Internal,
    errors.BackendBadResponse,
    errors.Overloaded,
    errors.BackendUnavailable,
    errors.ModelRefused,
    errors.DecodersUnavailable,
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
NOT_READY = (errors.BackendUnavailable, errors.DecodersUnavailable, errors.Draining, errors.Internal)

DESCRIPTION = """You send an image as the raw body, as the field `file` of a form, or as base64 in JSON. It is never
fetched from a URL.

Every failure is an RFC 9457 problem document: branch on its `code`. [The list of problems](problems) has the cause and
the cure of each. Try your own images in [the playground](.), which also shows each request as code."""


ServedModels = Callable[[str], Iterable[str]]


@dataclass(frozen=True)
class RouteDescription:
    """The responses of a route, with an example for each, and the problems that it can report."""

    responses: tuple[type[BaseModel], ...]
    problems: tuple[type[ServiceError], ...] = (errors.Internal,)
    takes_images: bool = False
    takes_tensors: bool = False
    other_content: Mapping[str, Any] | None = None


METRICS_CONTENT = {each: {"schema": {"type": "string"}} for each in ("text/plain", "application/openmetrics-text")}

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
        other_content={OCTETS: {"schema": binary(OCTETS)}},
    ),
    ("/livez", "get"): RouteDescription((Live,)),
    ("/readyz", "get"): RouteDescription((Ready,), (errors.InvalidParameter, *NOT_READY)),
    ("/metrics", "get"): RouteDescription((), OPERATORS, other_content=METRICS_CONTENT),
}


def operation_id(route: APIRoute) -> str:
    """Return the name of an operation, after which generators name their functions: `classify`, `list_models`."""
    return route.name


def describe(app: FastAPI, served: ServedModels, *, needs_key: bool) -> None:
    """Make `app.openapi` give the whole description, built at the first call.

    `served` returns the names of the models of a task, which it has if no key is needed to read them. `needs_key` says
    whether callers are authenticated.
    """
    app.openapi = lambda: _cached(app, served, needs_key=needs_key)  # type: ignore[method-assign]


def _cached(app: FastAPI, served: ServedModels, *, needs_key: bool) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = _document(app, needs_key=needs_key)
        if not needs_key:
            _name_models(app.openapi_schema, served)
    return app.openapi_schema


def _document(app: FastAPI, *, needs_key: bool) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_introduction())
    routes, rules = descriptions(), all_rules()
    document["security"] = []  # no key for the operations that name none
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    document["servers"] = [{"url": "."}]  # relative to this document: a proxy may serve it under a path
    responses: list[type[BaseModel]] = [shape for route in routes.values() for shape in route.responses]
    document["components"] = {
        "schemas": schemas((ImagesBody, TensorRequest), (*responses, Problem)),
        "securitySchemes": SECURITY,
    }
    for (path, method), description in routes.items():
        operation = document["paths"][path][method]
        if not rules[path].is_open:
            operation["security"] = [*({name: []} for name in SECURITY), *([] if needs_key else [{}])]
        operation["responses"] = {"200": _success(description), **_failures(description.problems)}
        for parameter in operation.get("parameters", []):
            parameter["schema"] = without_null(parameter["schema"])
        if description.takes_images or description.takes_tensors:
            operation["requestBody"] = _request_body() if description.takes_images else _tensor_body()
            operation["parameters"] = [*operation.get("parameters", []), *HEADERS]
    return document


def _name_models(document: dict[str, Any], served: ServedModels) -> None:
    """Name the served models in the description of `model`.

    They are no enum: a client generated from one instance would then reject the models of another.
    """
    for task in TASKS.values():
        for endpoint in task.endpoints:
            for parameter in document["paths"][endpoint.path]["post"]["parameters"]:
                if parameter["name"] == "model" and (names := served(task.name)):
                    listed = ", ".join(f"`{name}`" for name in names)
                    parameter["description"] += f" Served: {listed}."
                    parameter["schema"]["items"]["examples"] = list(names)


def _introduction() -> str:
    first, *others = (endpoint.name for task in TASKS.values() for endpoint in task.endpoints)
    listed = f"{', '.join([first, *others[:-1]])} and {others[-1]}" if others else first
    return f"{listed.capitalize()} images.\n\n{DESCRIPTION}"


def descriptions() -> dict[tuple[str, str], RouteDescription]:
    """Return the description of each route by path and method: those of the tasks, and `OPERATIONS`."""
    of_tasks = {
        (endpoint.path, "post"): RouteDescription(
            endpoint.responses,
            UPLOAD,
            takes_images=True,
            other_content={kind: {"schema": binary(kind)} for kind in endpoint.image_types},
        )
        for task in TASKS.values()
        for endpoint in task.endpoints
    }
    return of_tasks | OPERATIONS


def _success(description: RouteDescription) -> dict[str, Any]:
    content: dict[str, Any] = dict(description.other_content or {})
    if description.responses:
        known = examples.responses()
        shown = {shape.__name__: {"value": known[shape.__name__]} for shape in description.responses}
        content = {JSON: {"schema": one_of(description.responses), "examples": shown}} | content
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


def _request_body() -> dict[str, Any]:
    # A media type without a schema is OpenAPI 3.1's own form for a binary body. TypeScript's generators make it
    # `unknown`, so that a `Blob` and a `FormData` are accepted as the body. The type for all other bytes has a schema,
    # which generators of Python clients need.
    images: dict[str, Any] = {media_type(kind): {} for kind in decoder.accepted_formats()}
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": binary(OCTETS)}},
        "required": ["file"],
    }
    body = {"schema": {"$ref": REF.format(model="ImagesBody")}, "example": examples.request()}
    content = {**images, OCTETS: {"schema": binary(OCTETS)}, MULTIPART: {"schema": form}, JSON: body}
    return {"required": True, "content": content}


def _tensor_body() -> dict[str, Any]:
    json = {"schema": {"$ref": REF.format(model="TensorRequest")}, "example": examples.tensors()}
    return {"required": True, "content": {JSON: json, OCTETS: {"schema": binary(OCTETS)}}}
