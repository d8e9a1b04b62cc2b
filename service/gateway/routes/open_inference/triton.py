"""What clients of Triton ask of `/v2` beside inference: the repository index, model configurations and statistics.

What is not offered is refused with the alternative, and so is `:predict` of KServe's first protocol.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from fastapi import APIRouter
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from service.errors import RouteNotFound
from service.gateway.components import Components, ComponentsDep
from service.gateway.routes.open_inference.v2 import NAME, PLATFORM, with_version
from service.gateway.routes.open_inference.v2_tensors import INPUT
from service.models.cards import ModelCard
from service.tasks import task_of

router = APIRouter(tags=["open inference protocol"], include_in_schema=False)

TYPES: Final = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT32": "TYPE_INT32", "UINT8": "TYPE_UINT8"}
# Triton's name of each stage of an image, by ours in the metrics.
STAGES: Final = {
    "queue": "queue",
    "decode": "compute_input",
    "inference": "compute_infer",
    "encode": "compute_output",
}
NANOSECONDS: Final = 1_000_000_000

OPERATOR_LOADS = "The operator adds and removes models (`resnest-service models reload`). Callers cannot."
NO_SHARED_MEMORY = "Shared memory is not offered. Send the bytes in the body, and read them from the response."
OPERATOR_SETTING = "Settings cannot be changed while the service runs. The operator sets them (RESNEST_...)."
NO_TEXT = "These models take images and generate no text. Send POST /v2/models/{name}/infer."
OTHER_PROTOCOL = (
    "The first protocol of KServe is not offered: its JSON has no place for an image. Send the image to the path of "
    "the model's task in GET /v1/models, or to POST /v2/models/{name}/infer."
)
NOT_OFFERED: Final = {
    "/v2/repository/models/{name}/load": OPERATOR_LOADS,
    "/v2/repository/models/{name}/unload": OPERATOR_LOADS,
    "/v2/systemsharedmemory/{rest:path}": NO_SHARED_MEMORY,
    "/v2/cudasharedmemory/{rest:path}": NO_SHARED_MEMORY,
    "/v2/trace/setting": OPERATOR_SETTING,
    "/v2/models/{name}/trace/setting": OPERATOR_SETTING,
    "/v2/logging": OPERATOR_SETTING,
    "/v2/models/{name}/generate": NO_TEXT,
    "/v2/models/{name}/generate_stream": NO_TEXT,
    "/v1/models/{name}:{method}": OTHER_PROTOCOL,
}


class IndexRequest(BaseModel):
    """A request for the repository index."""

    ready: bool = False


@router.post("/v2/repository/index")
async def index(components: ComponentsDep, wanted: IndexRequest | None = None) -> Response:
    """Return the name, version and state of each served model; with `ready`, of those that can answer."""
    rows = [_index_row(components, card) for card in components.registry.cards.values()]
    return JSONResponse([row for row in rows if row["state"] == "READY" or not (wanted and wanted.ready)])


@router.get("/v2/models/{name}/config")
@router.get("/v2/models/{name}/versions/{version}/config")
async def config(name: str, components: ComponentsDep, version: str | None = None) -> Response:
    """Return a model's configuration in Triton's form. A `max_batch_size` of 0 says that `dims` are whole shapes."""
    card = components.versions.find(with_version(name, version))
    outputs = task_of(card).v2_outputs(card).items()
    return JSONResponse(
        {
            "name": card.family,
            "platform": PLATFORM,
            "backend": NAME,
            "max_batch_size": 0,
            "input": [{"name": INPUT, "data_type": TYPES["BYTES"], "dims": [-1]}],
            "output": [
                {"name": output, "data_type": TYPES[facts["datatype"]], "dims": facts["shape"]}
                for output, facts in outputs
            ],
        }
    )


@router.get("/v2/models/stats")
@router.get("/v2/models/{name}/stats")
@router.get("/v2/models/{name}/versions/{version}/stats")
async def stats(components: ComponentsDep, name: str | None = None, version: str | None = None) -> Response:
    """Return the number of images and their times for each model, or for one, from the metrics of this instance."""
    cards = components.registry.cards.values()
    chosen = cards if name is None else [components.versions.find(with_version(name, version))]
    return JSONResponse({"model_stats": statistics(components.metrics.text().decode(), chosen)})


def statistics(metrics: str, cards: Iterable[ModelCard]) -> list[dict[str, Any]]:
    """Return a row for each card from metrics in Prometheus's text format, in Triton's form. Times are nanoseconds."""
    values: dict[tuple[str, str], float] = defaultdict(float)
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            model = sample.labels.get("model", "")
            if sample.name == "resnest_images_total":
                values[model, "success" if sample.labels["outcome"] == "ok" else "fail"] += sample.value
            elif sample.name.startswith("resnest_stage_duration_seconds_"):
                kind = sample.name.removeprefix("resnest_stage_duration_seconds_")
                values[model, f"{sample.labels['stage']} {kind}"] += sample.value
    return [_row(card, values) for card in cards]


def _row(card: ModelCard, values: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    def value(kind: str) -> float:
        return values.get((card.name, kind), 0.0)

    stages = {
        theirs: {"count": int(value(f"{ours} count")), "ns": int(value(f"{ours} sum") * NANOSECONDS)}
        for ours, theirs in STAGES.items()
    }
    whole = sum(each["ns"] for each in stages.values())
    return {
        "name": card.family,
        "version": card.version,
        "inference_count": int(value("success")),
        "inference_stats": {
            "success": {"count": int(value("success")), "ns": whole},
            "fail": {"count": int(value("fail")), "ns": 0},
            **stages,
        },
    }


def _index_row(components: Components, card: ModelCard) -> dict[str, str]:
    row = {"name": card.family, "version": card.version}
    state = components.readiness.state(card.server_name)
    return row | ({"state": "READY"} if state == "ready" else {"state": "UNAVAILABLE", "reason": state})


def _refusal(sentence: str) -> Callable[[], Awaitable[Response]]:
    async def refuse() -> Response:
        raise RouteNotFound(sentence)

    return refuse


def refusals() -> APIRouter:
    """Return routes for what is not offered. They have no template of their own in metrics and access rules."""
    refusing = APIRouter(include_in_schema=False)
    for path, sentence in NOT_OFFERED.items():
        refusing.add_api_route(path, _refusal(sentence), methods=["GET", "POST"], response_model=None)
    return refusing
