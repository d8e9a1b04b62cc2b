"""`/v2`: the Open Inference Protocol (KServe, Triton), for clients that speak it already."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from service import __version__
from service.errors import BackendUnavailable, Forbidden, InvalidParameter, ServiceError
from service.gateway.components import ComponentsDep
from service.gateway.http.media_types import JSON, OCTETS
from service.gateway.routes.image_results import ImageResults, infer_images
from service.gateway.routes.v2_tensors import HEAD_LENGTH, INPUT, TensorBody, answer
from service.models.cards import ModelCard
from service.tasks import task_of
from service.tasks.base import ModelOutput
from service.tasks.frame import Array

router = APIRouter(tags=["open inference protocol"])

NAME = "resnest-service"
EXTENSIONS = ["binary_tensor_data", "classification"]


@router.get("/v2", summary="Describe the server")
async def server() -> Response:
    """Tell the server's name, version, and the extensions of the protocol that it understands."""
    return JSONResponse({"name": NAME, "version": __version__, "extensions": EXTENSIONS})


@router.get("/v2/health/live", summary="Does the process answer?")
async def live() -> Response:
    """Say 200 as long as the event loop turns."""
    return JSONResponse({"live": True})


@router.get("/v2/health/ready", summary="Would pictures be answered?")
async def ready(components: ComponentsDep) -> Response:
    """Say 200 if every model has a ready worker that answered a test picture, else 503."""
    if not components.readiness.ready:
        raise components.readiness.problem()
    return JSONResponse({"ready": True})


@router.get("/v2/models/{name}", summary="Describe a model's tensors")
@router.get("/v2/models/{name}/versions/{version}", include_in_schema=False)
async def model(name: str, components: ComponentsDep, version: str | None = None) -> Response:
    """Tell a model's input, one encoded picture an element, and its outputs."""
    card = components.versions.find(named(name, version))
    inputs = [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}]
    told = [{"name": output, **facts} for output, facts in task_of(card).v2_outputs(card).items()]
    versions = [version] if version else components.versions.all(card.family)
    return JSONResponse(
        {"name": card.family, "versions": versions, "platform": "pytorch", "inputs": inputs, "outputs": told}
    )


@router.get("/v2/models/{name}/ready", summary="Would a model answer?")
@router.get("/v2/models/{name}/versions/{version}/ready", include_in_schema=False)
async def model_ready(name: str, components: ComponentsDep, version: str | None = None) -> Response:
    """Say 200 if the model has a ready worker that answered a test picture, else 503."""
    wanted = named(name, version)
    card = components.versions.find(wanted)
    names = [card.name] if "@" in wanted else components.versions.groups().get(card.family, [card.name])
    if not components.readiness.answers(names):
        raise BackendUnavailable(f"{wanted} is not ready.")
    return JSONResponse({"name": card.family, "ready": True})


@router.post("/v2/models/{name}/infer", summary="Ask a model")
@router.post("/v2/models/{name}/versions/{version}/infer", include_in_schema=False)
async def infer(request: Request, name: str, components: ComponentsDep, version: str | None = None) -> Response:
    """Return a row of each output for each image of the tensor `image`. One image that fails makes the request fail."""
    card = components.versions.find(components.versions.name(request, named(name, version)))
    check_scope(request, card)
    body = TensorBody(request.headers, components.settings.max_images, list(task_of(card).v2_outputs(card)))
    async with infer_images(request, components, [card], body=body) as answers:
        arrays = stacked({output.name for output in body.wanted}, found(answers))
        document: dict[str, Any] = {"model_name": card.family, "model_version": card.version}
        if body.identity:
            document["id"] = body.identity
        labels = [label.label for label in card.classes]
        content, length = answer(body.wanted, arrays, labels, document)
        headers = answers.headers() | ({} if length is None else {HEAD_LENGTH: str(length)})
        return Response(content, media_type=JSON if length is None else OCTETS, headers=headers)


def named(name: str, version: str | None) -> str:
    """A model's name with the version of the path, if there is one."""
    return name if version is None else f"{name}@{version}"


def check_scope(request: Request, card: ModelCard) -> None:
    """Raise `Forbidden` where the caller's key does not open the model's task."""
    scope = task_of(card).scope
    if scope not in getattr(request.state, "scopes", {scope}):
        raise Forbidden(f"This model needs a key of the scope {scope}.", required_scope=scope)


def found(answers: ImageResults) -> list[ModelOutput]:
    """Each picture's answer. Raises the first failure, with the picture's place in `index`."""
    rows: list[ModelOutput] = []
    for index, result in enumerate(answers.results):
        if result.failure is not None:
            result.failure.members["index"] = index
            raise result.failure
        rows.extend(each for each in result.answers if isinstance(each, ModelOutput))
    return rows


def stacked(names: Iterable[str], answers: list[ModelOutput]) -> dict[str, Array]:
    """Outputs over all pictures. Raises `InvalidParameter` for masks of several sizes."""
    arrays = {}
    for name in names:
        rows = [each.arrays[name] for each in answers]
        if len({row.shape for row in rows}) > 1:
            raise _shapes(name)
        arrays[name] = np.stack(rows)
    return arrays


def _shapes(name: str) -> ServiceError:
    detail = f"The pictures have several shapes, and so has {name}: send them one by one, or scaled to one shape."
    return InvalidParameter(detail, errors=[{"parameter": "inputs", "detail": detail}])
