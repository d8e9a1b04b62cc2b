"""`/v2`: the Open Inference Protocol over REST, for clients of KServe and Triton."""

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, Response

from service import __version__
from service.errors import BackendUnavailable, Forbidden, InvalidParameter, ServiceError
from service.gateway.components import ComponentsDep
from service.gateway.http import mistakes
from service.gateway.http.media_types import JSON, OCTETS
from service.gateway.http.problems import invalid_parameters
from service.gateway.routes.image_results import ImageResults, infer_images
from service.gateway.routes.open_inference.v2_tensors import HEAD_LENGTH, INPUT, TensorBody, encode_outputs
from service.models.cards import ModelCard
from service.tasks import task_of
from service.tasks.base import DecodedFacts, ModelOutput, Task
from service.tasks.frame import Array

router = APIRouter(tags=["open inference protocol"])

NAME = "resnest-service"
PLATFORM = "pytorch"
IN_THE_BODY = "This protocol has no parameters in the URL. They are members of the JSON."
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]


@router.get("/v2", name="v2_server", summary="Describe the server")
async def server() -> Response:
    """Return the server's name, its version, and its extensions of the protocol."""
    return JSONResponse({"name": NAME, "version": __version__, "extensions": EXTENSIONS})


@router.get("/v2/health/live", name="v2_live", summary="Check liveness")
async def live() -> Response:
    """Return 200 while the process responds."""
    return JSONResponse({"live": True})


@router.get("/v2/health/ready", name="v2_ready", summary="Check readiness")
async def ready(components: ComponentsDep) -> Response:
    """Return 200 if this instance can answer, as `/readyz` does, else 503."""
    if not components.readiness.ready:
        raise components.readiness.problem()
    return JSONResponse({"ready": True})


@router.get("/v2/models/{name}", name="v2_model", summary="Describe a model's tensors")
@router.get("/v2/models/{name}/versions/{version}", include_in_schema=False)
async def model(name: str, components: ComponentsDep, version: str | None = None) -> Response:
    """Return a model's input, with one encoded image an element, and its outputs."""
    card = components.versions.find(with_version(name, version))
    inputs = [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}]
    outputs = [{"name": output, **facts} for output, facts in task_of(card).v2_outputs(card).items()]
    versions = [version] if version else components.versions.all(card.family)
    return JSONResponse(
        {"name": card.family, "versions": versions, "platform": PLATFORM, "inputs": inputs, "outputs": outputs}
    )


@router.get("/v2/models/{name}/ready", name="v2_model_ready", summary="Check whether a model is ready")
@router.get("/v2/models/{name}/versions/{version}/ready", include_in_schema=False)
async def model_ready(name: str, components: ComponentsDep, version: str | None = None) -> Response:
    """Return 200 if the model has a ready worker and has answered a probe image, else 503."""
    wanted = with_version(name, version)
    card = components.versions.find(wanted)
    alone = [card.server_name]
    names = alone if "@" in wanted else components.versions.groups().get(card.family, alone)
    if not components.readiness.any_ready(names):
        raise BackendUnavailable(f"{wanted} is not ready.")
    return JSONResponse({"name": card.family, "ready": True})


@router.post("/v2/models/{name}/infer", name="v2_infer", summary="Run inference")
@router.post("/v2/models/{name}/versions/{version}/infer", include_in_schema=False)
async def infer(request: Request, name: str, components: ComponentsDep, version: str | None = None) -> Response:
    """Return a row of each output for each image of the tensor `image`. One image that fails makes the request fail."""
    card = components.versions.find(components.versions.resolve(request, with_version(name, version)))
    check_scope(request, card)
    task = task_of(card)
    outputs = task.v2_outputs(card)
    if request.query_params:
        raise invalid_parameters(((sent,), IN_THE_BODY) for sent in request.query_params)
    own = task.v2_parameters.model_fields.keys() if task.v2_parameters else ()
    body = TensorBody(
        request.headers,
        components.settings.max_images,
        list(outputs),
        task.v2_on_request,
        own,
        addressed={"model_name": {name, card.name, card.family}, "model_version": {card.version, version, ""}},
    )
    async with infer_images(request, components, [card], lambda _: parameters_of(task, body), body=body) as found:
        rows = outputs_of(found)
        if task.v2_arrays is None:
            arrays = stacked({output.name for output in body.requested}, rows)
        else:
            facts = [cast("DecodedFacts", result.facts) for result in found.results]
            images = [(each, row.arrays) for each, row in zip(facts, rows, strict=True)]
            arrays = task.v2_arrays(card, images, parameters_of(task, body))
        document: dict[str, Any] = {"model_name": card.family, "model_version": card.version}
        if body.request_id:
            document["id"] = body.request_id
        scored = {name for name, facts in outputs.items() if facts == scores_of_classes(card)}
        labels = [label.label for label in card.classes]
        content, length = encode_outputs(body.requested, arrays, labels, document, scored)
        headers = found.headers() | ({} if length is None else {HEAD_LENGTH: str(length)})
        return Response(content, media_type=JSON if length is None else OCTETS, headers=headers)


def parameters_of(task: Task, body: TensorBody) -> BaseModel | None:
    """Return the parameters of the request that the task has, if it has any. Raises `InvalidParameter`."""
    if task.v2_parameters is None:
        return None
    try:
        return task.v2_parameters.model_validate(body.parameters)
    except ValidationError as error:
        found = [(".".join(map(str, each["loc"])), mistakes.describe(each)) for each in error.errors()]
        raise InvalidParameter.of((f"parameters.{name}", text) for name, text in found) from None


def scores_of_classes(card: ModelCard) -> dict[str, Any]:
    """Return datatype and shape of an output with a score for each class."""
    return {"datatype": "FP32", "shape": [-1, card.network.classes]}


def with_version(name: str, version: str | None) -> str:
    """Return a model's name with the version of the path, if there is one."""
    return name if version is None else f"{name}@{version}"


def check_scope(request: Request, card: ModelCard) -> None:
    """Raise `Forbidden` if the caller's key lacks the scope of the model's task."""
    scope = task_of(card).scope
    if scope not in getattr(request.state, "scopes", {scope}):
        raise Forbidden(f"This model needs a key with the scope {scope}.", required_scope=scope)


def outputs_of(found: ImageResults) -> list[ModelOutput]:
    """Return the output of each image. Raises the first failure, with the image's index in its member `index`."""
    rows: list[ModelOutput] = []
    for index, result in enumerate(found.results):
        if result.failure is not None:
            result.failure.members["index"] = index
            raise result.failure
        rows.extend(output for output in result.outputs if isinstance(output, ModelOutput))
    return rows


def stacked(names: Iterable[str], outputs: list[ModelOutput]) -> dict[str, Array]:
    """Return the named arrays, stacked over all images. Raises `InvalidParameter` if the shapes differ."""
    arrays = {}
    for name in names:
        rows = [output.arrays[name] for output in outputs]
        if len({row.shape for row in rows}) > 1:
            raise _different_shapes(name)
        arrays[name] = np.stack(rows)
    return arrays


def _different_shapes(name: str) -> ServiceError:
    detail = f"The images have outputs {name} of different shapes: send one image in a request."
    return InvalidParameter.of([("inputs", detail)])
