"""The routes about the service itself: its models, traffic shares, health, metrics and OpenAPI description."""

from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from service.gateway.components import ComponentsDep
from service.gateway.http import mistakes
from service.gateway.http.problems import invalid_parameters
from service.gateway.inference.readiness import Requirement

router = APIRouter()


def _only(*known: str) -> Any:
    """Return a dependency that rejects other query parameters: one that is misspelt would have no effect."""

    async def check(request: Request) -> None:
        unknown = [name for name in request.query_params if name not in known]
        if unknown:
            raise invalid_parameters(((name,), mistakes.unknown(name, known)) for name in unknown)

    return Depends(check)


def _json(document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


@router.get("/v1/models", name="list_models", tags=["models"], summary="List the models", dependencies=[_only()])
async def models(components: ComponentsDep) -> Response:
    """Return the served models, with their states and traffic shares."""
    cards = components.registry.cards.values()
    rows = [
        components.registry.summary(card, components.readiness.state(card.server_name))
        | components.versions.traffic_shares(card)
        for card in cards
    ]
    return _json({"models": rows})


@router.get("/v1/models/{name}", name="get_model", tags=["models"], summary="Describe a model", dependencies=[_only()])
async def model(name: str, components: ComponentsDep) -> Response:
    """Return one model with its labels, its input, and the limits on uploads."""
    card = components.registry.card(name)
    watch = components.readiness.watches[card.server_name]
    detail = components.registry.detail(card, watch.state, watch.worker_bytes, components.transport(card))
    return _json(detail | components.versions.traffic_shares(card))


@router.get("/v1/traffic", name="get_traffic", tags=["operation"], summary="Show the traffic shares")
async def traffic(components: ComponentsDep) -> Response:
    """Return the traffic shares of each model's versions, and why the file's last change is not in force."""
    return _json(components.versions.details())


@router.get("/livez", tags=["operation"], summary="Check liveness")
async def livez() -> Response:
    """Return 200 while the process responds. The model servers are not checked."""
    return _json({"status": "live"})


@router.get("/readyz", tags=["operation"], summary="Check readiness", dependencies=[_only("require")])
async def readyz(components: ComponentsDep, require: Requirement | None = None) -> Response:
    """Return 200 if any model can answer, or with `require=all` if all can. Else return 503. Both give their states.

    A model can answer if it has a ready worker and has answered a probe image. Without `require` the setting
    `RESNEST_READY` decides.
    """
    readiness = components.readiness
    if not (readiness.ready if require is None else readiness.is_ready(require)):
        raise components.readiness.problem()
    limits = components.rate_limiter.buckets.state
    return _json({"status": "ready", "models": components.readiness.details(), "limits": limits})


@router.get("/metrics", tags=["operation"], summary="Metrics for Prometheus")
async def metrics(request: Request, components: ComponentsDep) -> Response:
    """Return the gateway's metrics in Prometheus's text format 0.0.4, or as OpenMetrics if `Accept` asks for it."""
    content, media_type = components.metrics.exposition(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Return the description of the API (OpenAPI 3.1)."""
    return _json(request.app.openapi())
