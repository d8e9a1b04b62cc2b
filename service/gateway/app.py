"""Build the FastAPI application: its components, routes and middleware, in order."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

from service import __version__
from service.config.environment import SettingsError
from service.config.settings import Settings
from service.errors import ServiceError
from service.gateway.access.authorization import AccessMiddleware, all_rules
from service.gateway.access.callers import Authenticator
from service.gateway.access.from_settings import authenticator_of, longest_request_s, token_buckets_of
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.backend.torchserve import Backend, TorchServe
from service.gateway.components import Components
from service.gateway.http import problems
from service.gateway.http.access_log import AccessLog
from service.gateway.http.cors import CorsMiddleware
from service.gateway.http.middleware import (
    ContextMiddleware,
    CrashMiddleware,
    HeadMiddleware,
    LingerMiddleware,
)
from service.gateway.http.near_routes import KnownRoute, NearRoutes
from service.gateway.http.refused_origins import RefusedOriginMiddleware
from service.gateway.inference.model_changes import ModelChanges
from service.gateway.inference.registry import ModelRegistry
from service.gateway.inference.versions import read
from service.gateway.metrics import NO_SPANS, Metrics, Tracing
from service.gateway.playground.playground import pages_router
from service.gateway.routes import models, problem_pages, swagger
from service.gateway.routes.fast_path import FastPathMiddleware
from service.gateway.routes.images import ImageRoute, image_routes, router_of
from service.gateway.routes.open_inference import triton, v2
from service.gateway.routes.openapi import describe, descriptions, operation_id
from service.host.gateway_slots import SINGLE_PROCESS, SharedReadiness
from service.host.served_models.roster import RosterFile
from service.models import zoo
from service.models.cards import CardError
from service.tasks import task_of

# The routes beside those of the tasks and the playground.
ROUTERS: tuple[APIRouter, ...] = (triton.router, v2.router, models.router, problem_pages.router, swagger.router)

PAGES = ("/docs", "/problems", "/openapi.json")

UNMATCHED = "unmatched"
SETTLE_S = 10.0

# Otherwise FastAPI would look up OpenTelemetry providers on every request, and log the messages of errors.
NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)

FIXED: Any = {
    "title": "resnest-service",
    "version": __version__,
    "openapi_url": None,
    "redirect_slashes": False,
    "generate_unique_id_function": operation_id,
    "telemetry": NO_TELEMETRY,
}

EXCEPTION_HANDLERS: Any = {
    ServiceError: problems.on_service_error,
    RequestValidationError: problems.on_invalid,
    HTTPException: problems.on_http_error,
}


class Application(FastAPI):
    """FastAPI with our middleware outside all of its own, so that responses from our middleware skip FastAPI's."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the middleware stack; Starlette calls this once."""
        layers, self.user_middleware = self.user_middleware, []
        app = super().build_middleware_stack()
        self.user_middleware = layers
        if isinstance(app, ServerErrorMiddleware):
            app = app.app  # `CrashMiddleware` takes its place, and responds with a problem document
        for cls, args, kwargs in reversed(layers):
            app = cls(app, *args, **kwargs)
        return app


def _readable_cards(settings: Settings) -> zoo.Zoo:
    """Return the cards of the store, and log those that cannot be read. Raise `CardError` if none can."""
    cards = zoo.read_all(settings.model_store, task_of)
    if cards.unreadable and not cards:
        raise CardError("; ".join(cards.unreadable.values()))
    for reason in cards.unreadable.values():
        logging.getLogger(__name__).warning("a model is left out because its card is unreadable: %s", reason)
    return cards


def _registry(settings: Settings, roster: RosterFile | None) -> ModelRegistry:
    """Return the registry of the models on the list, or of those that the settings name. Raise `CardError`."""
    if roster is None:
        return ModelRegistry(_readable_cards(settings), settings)
    cards = [entry.read() for entry in roster.read().served]
    return ModelRegistry({card.name: card for card in cards}, settings, all_of_them=True)


def create_app(
    settings: Settings,
    backend: Backend | None = None,
    shared_readiness: SharedReadiness = SINGLE_PROCESS,
    roster: RosterFile | None = None,
) -> FastAPI:
    """Return the app for these settings; its components are created when the lifespan starts.

    Without `backend` it uses the TorchServe instances that the settings name. `shared_readiness` connects this process
    with the other gateway processes on the host. `roster` lists the models in place of the settings, also later. Raise
    `CardError` for a model store that cannot be served, `KeysError` for invalid keys, `TrafficError` for an invalid
    traffic file, and `SettingsError` for traces that cannot be sent.
    """
    registry = _registry(settings, roster)
    metrics, access_log = _metrics(settings, shared_readiness), AccessLog(settings.access_log)
    shares = read(settings.traffic_file, registry, metrics.traffic_stale.set) if settings.traffic_file else None
    authenticator = authenticator_of(settings, metrics)
    rate_limiter = RateLimiter(token_buckets_of(settings, metrics), settings.quota, settings.max_images)
    access = access_middleware(settings, metrics, authenticator, rate_limiter)
    routes = image_routes()
    routers = (router_of(routes), *ROUTERS, pages_router(has_playground=settings.playground))

    def build() -> Components:
        server = backend or _torchserve(settings, metrics, registry)
        return Components(settings, metrics, registry, server, authenticator, rate_limiter, shares, shared_readiness)

    app: FastAPI = Application(
        lifespan=lifespan_of(build, shared_readiness, roster),
        **FIXED,
        middleware=middleware_of(
            settings, metrics, access_log, access, lambda: app.state.components.readiness.draining, routers, routes
        ),
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.state.metrics, app.state.access_log, app.state.near_routes = metrics, access_log, near_routes_of(routes)
    for router in (triton.refusals(), *routers):
        app.include_router(router)
    describe(app, registry.names, needs_key=settings.authenticates_callers)
    return app


def _torchserve(settings: Settings, metrics: Metrics, registry: ModelRegistry) -> TorchServe:
    return TorchServe(
        settings.server_addresses,
        metrics.count_retry,
        on_sent=metrics.count_sent,
        on_restart=metrics.count_restarts,
        identity_of=registry.identity,
    )


def _metrics(settings: Settings, shared: SharedReadiness) -> Metrics:
    return Metrics(shared.metrics_folder, tracing_of(settings), counts_restarts=shared.is_first)


def access_middleware(
    settings: Settings, metrics: Metrics, authenticator: Authenticator, rate_limiter: RateLimiter
) -> Middleware:
    """Return the middleware that authenticates callers and enforces their limits."""
    return Middleware(
        AccessMiddleware,
        authenticator=authenticator,
        rate_limiter=rate_limiter,
        proxies=settings.trusted_proxies,
        metrics=metrics,
        unmatched=UNMATCHED,
        admin_port=settings.admin_port,
    )


def middleware_of(
    settings: Settings,
    metrics: Metrics,
    access_log: AccessLog,
    access: Middleware,
    is_draining: Callable[[], bool],
    routers: Sequence[APIRouter],
    routes: Sequence[ImageRoute],
) -> list[Middleware]:
    """Return the middleware, outermost first."""
    template_of = template_finder(routers)
    return [
        Middleware(HeadMiddleware),
        Middleware(LingerMiddleware),
        *tracing_middleware(metrics.tracing, template_of),
        Middleware(
            ContextMiddleware,
            is_draining=is_draining,
            metrics=metrics,
            template_of=template_of,
            access_log=access_log,
        ),
        *([] if "*" in settings.cors_origins else [Middleware(RefusedOriginMiddleware, allowed=settings.cors_origins)]),
        *([Middleware(CorsMiddleware, origins=settings.cors_origins)] if settings.cors_origins else []),
        Middleware(CrashMiddleware, metrics=metrics),
        access,
        Middleware(FastPathMiddleware, routes=routes, metrics=metrics),
    ]


def tracing_of(settings: Settings) -> Tracing:
    """Return what records the spans of requests, as the settings say. Raise `SettingsError`."""
    if settings.traces == "off":
        return NO_SPANS
    try:
        from service.config.tracing.provider import open_provider  # noqa: PLC0415 - opentelemetry-sdk is an extra
        from service.gateway.metrics.request_spans import RecordedTracing  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(f"RESNEST_TRACES needs {error.name}: install resnest-service[otel]") from error
    return RecordedTracing(open_provider("gateway"))


def tracing_middleware(tracing: Tracing, template_of: Callable[[str], str]) -> list[Middleware]:
    """Return the middleware that gives each request a span; none while traces are off."""
    if tracing is NO_SPANS:
        return []
    from service.gateway.http.tracing_middleware import TracingMiddleware  # noqa: PLC0415 - an extra, as above

    return [Middleware(TracingMiddleware, tracing=cast("Any", tracing), template_of=template_of)]


def lifespan_of(
    build: Callable[[], Components], shared_readiness: SharedReadiness, roster: RosterFile | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the app's lifespan: the components are built at its start, inside the event loop, and closed at its end.

    With a roster, the app follows its changes.

    A process that replaces another accepts no requests until its models have answered, or `SETTLE_S` have passed.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.components = components = build()
        components.start(*([_changes(app, components, roster).run()] if roster else []))
        if shared_readiness.is_replacement:
            components.metrics.gateway_restarts.inc()
            await components.readiness.finish_start(SETTLE_S)
        try:
            yield
        finally:
            await components.close()
            components.metrics.tracing.close()
            app.state.access_log.flush()

    return lifespan


def _changes(app: FastAPI, components: Components, roster: RosterFile) -> ModelChanges:
    """Return what follows the roster. The description of the API is built again after each change."""
    settings, metrics = components.settings, components.metrics
    longest_s = longest_request_s(settings)
    return ModelChanges(
        roster.path, components, lambda: setattr(app, "openapi_schema", None), metrics.reload_failed.set, longest_s
    )


def near_routes_of(routes: Sequence[ImageRoute]) -> NearRoutes:
    """Return the routes to name at an unknown path: the described ones that are not for operators, and the pages."""
    rules = all_rules()
    described = [KnownRoute(verb.upper(), path) for path, verb in descriptions() if rules[path].scope != "admin"]
    pages = [KnownRoute("GET", path) for path in PAGES]
    return NearRoutes([*described, *pages], [route.endpoint.path for route in routes])


def template_finder(routers: Sequence[APIRouter]) -> Callable[[str], str]:
    """Return a function from a path to the template of its route; all paths without a route get `UNMATCHED`."""
    routes = [(route.path_regex, route.path_format) for router in routers for route in router.routes]  # type: ignore[attr-defined]
    fixed = {template for _, template in routes if "{" not in template}

    def template_of(path: str) -> str:
        if path in fixed:
            return path
        return next((template for pattern, template in routes if pattern.match(path)), UNMATCHED)

    return template_of
