"""The description of the API (OpenAPI 3.1): FastAPI knows paths and parameters, this adds bodies, answers, problems."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import errors
from service.errors import ServiceError
from service.gateway.access.middleware import RULES
from service.gateway.http import problems
from service.gateway.http.media_types import JSON, MULTIPART, OCTETS, media_type
from service.gateway.inference.versions import HEADER as VERSION
from service.gateway.routes import examples, problem_pages
from service.imaging import decoder
from service.tasks.schemas import (
    ClassifyResponse,
    CompareResponse,
    EmbedResponse,
    ExplainResponse,
    ImagesBody,
    InferResponse,
    Live,
    ModelDetail,
    ModelList,
    ModelReady,
    ModelTensors,
    Problem,
    Ready,
    SegmentResponse,
    ServerFacts,
    ServerLive,
    ServerReady,
    TensorRequest,
    Traffic,
)

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

DESCRIPTION = """Classify, segment, embed and explain pictures.

A picture is sent as the raw body, as the field `file` of a form, or as base64 in JSON, and never fetched from a URL.
Every failure is an RFC 9457 problem document; branch on `code`. A path that is not served answers `route_not_found`,
a method that it has not `method_not_allowed`.

"""


@dataclass(frozen=True)
class Operation:
    """What a route answers with, and the problems it can tell."""

    answers: tuple[type[BaseModel], ...]
    problems: tuple[type[ServiceError], ...] = (errors.Internal,)
    takes_pictures: bool = False
    takes_tensors: bool = False
    other_content: Mapping[str, Any] | None = None


PICTURE_CONTENT = {
    kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in ("image/png", "image/webp")
}
TEXT_CONTENT = {"text/plain": {"schema": {"type": "string"}}}

HEADERS = [
    {
        "name": "Request-Timeout",
        "in": "header",
        "description": "Seconds, from its first byte on, that the request may take; the model's deadline if not given.",
        "schema": {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,6})?$", "examples": ["2.5"]},
    },
    {
        "name": VERSION,
        "in": "header",
        "description": "The version of the model that is to answer; by the operator's shares if not given.",
        "schema": {"type": "string", "examples": ["1.0"]},
    },
    {
        "name": "Priority",
        "in": "header",
        "description": "How urgent the request is (RFC 9218): u=0 the most, u=7 the least, u=3 if not given.",
        "schema": {"type": "string", "examples": ["u=6"]},
    },
]

SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token of the issuer that the service trusts, where it asks.",
    },
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("/v1/classify", "post"): Operation((ClassifyResponse, CompareResponse), UPLOAD, takes_pictures=True),
    ("/v1/segment", "post"): Operation((SegmentResponse,), UPLOAD, takes_pictures=True, other_content=PICTURE_CONTENT),
    ("/v1/embed", "post"): Operation((EmbedResponse,), UPLOAD, takes_pictures=True),
    ("/v1/explain", "post"): Operation((ExplainResponse,), UPLOAD, takes_pictures=True, other_content=PICTURE_CONTENT),
    ("/v1/models", "get"): Operation((ModelList,), DISCOVERY),
    ("/v1/models/{name}", "get"): Operation((ModelDetail,), (*DISCOVERY, errors.ModelNotFound)),
    ("/v1/traffic", "get"): Operation((Traffic,), OPERATORS),
    ("/v2", "get"): Operation((ServerFacts,), DISCOVERY),
    ("/v2/health/live", "get"): Operation((ServerLive,)),
    ("/v2/health/ready", "get"): Operation((ServerReady,), NOT_READY),
    ("/v2/models/{name}", "get"): Operation((ModelTensors,), (*DISCOVERY, errors.ModelNotFound)),
    ("/v2/models/{name}/ready", "get"): Operation((ModelReady,), (errors.ModelNotFound, *NOT_READY)),
    ("/v2/models/{name}/infer", "post"): Operation(
        (InferResponse,),
        tuple(error for error in UPLOAD if error not in {errors.MalformedMultipart, errors.NotAcceptable}),
        takes_tensors=True,
        other_content={OCTETS: {"schema": {"type": "string", "contentMediaType": OCTETS}}},
    ),
    ("/livez", "get"): Operation((Live,)),
    ("/readyz", "get"): Operation((Ready,), NOT_READY),
    ("/metrics", "get"): Operation((), OPERATORS, other_content=TEXT_CONTENT),
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi` give the whole description, built at the first call."""
    app.openapi = lambda: _cached(app)  # type: ignore[method-assign]


def _cached(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, routes=app.routes, description=DESCRIPTION + problem_pages.described()
    )
    answers = [shape for operation in OPERATIONS.values() for shape in operation.answers]
    shapes: list[type[BaseModel]] = [*dict.fromkeys(answers), Problem, ImagesBody, TensorRequest]
    _, schemas = models_json_schema([(shape, "serialization") for shape in shapes], ref_template=REF)
    document["components"] = {"schemas": schemas["$defs"], "securitySchemes": SECURITY}
    for (path, method), operation in OPERATIONS.items():
        described = document["paths"][path][method]
        if not RULES[path].is_open:
            described["security"] = [{name: []} for name in SECURITY]
        described["responses"] = {"200": _success(operation), **_failures(operation.problems)}
        if operation.takes_pictures or operation.takes_tensors:
            described["requestBody"] = _request_body() if operation.takes_pictures else _tensor_body()
            described["parameters"] = [*described.get("parameters", []), *HEADERS]
    return document


def _success(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = dict(operation.other_content or {})
    if operation.answers:
        told = {name: {"value": examples.ANSWERS[name]()} for name in (shape.__name__ for shape in operation.answers)}
        content = {JSON: {"schema": _one_of(operation.answers), "examples": told}} | content
    return {"description": "The answer.", "content": content}


def _failures(classes: Iterable[type[ServiceError]]) -> dict[str, Any]:
    """A response for each status, with an example for each of its problems."""
    by_status: dict[str, list[type[ServiceError]]] = {}
    for error in classes:
        by_status.setdefault(str(error.status), []).append(error)
    return {status: _problem_response(group) for status, group in sorted(by_status.items())}


def _problem_response(group: list[type[ServiceError]]) -> dict[str, Any]:
    told = {error.code(): {"summary": error.title, "value": examples.problem(error)} for error in group}
    response: dict[str, Any] = {
        "description": " ".join(f"`{error.code()}`: {error.title}." for error in group),
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}, "examples": told}},
    }
    if any(error.retry_after_s is not None for error in group):
        header = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        response["headers"] = {"Retry-After": header}
    return response


def _one_of(shapes: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    references = [{"$ref": REF.format(model=shape.__name__)} for shape in shapes]
    return references[0] if len(references) == 1 else {"oneOf": references}


def _request_body() -> dict[str, Any]:
    picture = {"schema": {"type": "string", "contentMediaType": OCTETS}}
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": {"type": "string", "contentMediaType": OCTETS}}},
        "required": ["file"],
    }
    body = {"schema": {"$ref": REF.format(model="ImagesBody")}, "example": examples.request()}
    content = dict.fromkeys([*map(media_type, decoder.accepted()), OCTETS], picture)
    return {"required": True, "content": {**content, MULTIPART: {"schema": form}, JSON: body}}


def _tensor_body() -> dict[str, Any]:
    json = {"schema": {"$ref": REF.format(model="TensorRequest")}, "example": examples.tensors()}
    behind = {"schema": {"type": "string", "contentMediaType": OCTETS}}
    return {"required": True, "content": {JSON: json, OCTETS: behind}}
