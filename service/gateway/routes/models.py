"""What the service tells of itself: its models, whether it lives and is ready, its metrics, its description."""

from typing import Any

import orjson
from fastapi import APIRouter, Request
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from service.gateway.components import ComponentsDep

router = APIRouter()


def _json(document: dict[str, Any]) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


@router.get("/v1/models", tags=["models"], summary="List the models")
async def models(components: ComponentsDep) -> Response:
    """List the models that are served, and whether they are ready."""
    cards = components.registry.cards.values()
    rows = [
        components.registry.summary(card, components.readiness.state(card.name)) | components.versions.part(card)
        for card in cards
    ]
    return _json({"models": rows})


@router.get("/v1/models/{name}", tags=["models"], summary="Describe a model")
async def model(name: str, components: ComponentsDep) -> Response:
    """Tell one model's labels, input, and what may be sent to it."""
    card = components.registry.card(name)
    watch = components.readiness.watches[card.name]
    return _json(components.registry.detail(card, watch.state, watch.worker_bytes) | components.versions.part(card))


@router.get("/v1/traffic", tags=["operation"], summary="How is the traffic spread?")
async def traffic(components: ComponentsDep) -> Response:
    """Tell the shares of each model's versions, and why the file's last change is not in force."""
    return _json(components.versions.details())


@router.get("/livez", tags=["operation"], summary="Does the process answer?")
async def livez() -> Response:
    """Say 200 as long as the event loop turns; it does not ask the model server."""
    return _json({"status": "live"})


@router.get("/readyz", tags=["operation"], summary="Would pictures be answered?")
async def readyz(components: ComponentsDep) -> Response:
    """Say 200 if every model has a ready worker that answered a test picture, else 503 with each model's state."""
    if not components.readiness.ready:
        raise components.readiness.problem()
    limits = components.rate_limiter.buckets.state
    return _json({"status": "ready", "models": components.readiness.details(), "limits": limits})


@router.get("/metrics", tags=["operation"], summary="Metrics for Prometheus")
async def metrics(components: ComponentsDep) -> Response:
    """Tell the gateway's metrics in Prometheus's text format."""
    return Response(components.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Describe the API (OpenAPI 3.1)."""
    return _json(request.app.openapi())
