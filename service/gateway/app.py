"""The FastAPI application: its parts, routes and middleware, in order."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

from service import __version__
from service.config.api_keys import KeysError
from service.config.settings import Settings
from service.errors import ServiceError
from service.gateway.access.callers import Authenticator, Keyring, TokenVerifier
from service.gateway.access.middleware import AccessMiddleware
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.access.token_bucket import LocalTokenBuckets, TokenBuckets
from service.gateway.backend.torchserve import Backend, TorchServe
from service.gateway.components import Gateway
from service.gateway.http import problems
from service.gateway.http.cors import CorsMiddleware
from service.gateway.http.middleware import (
    ContextMiddleware,
    CrashMiddleware,
    HeadMiddleware,
    LingerMiddleware,
    MetricsMiddleware,
)
from service.gateway.inference.registry import ModelRegistry
from service.gateway.inference.siblings import ALONE, SlotMember
from service.gateway.inference.versions import read
from service.gateway.metrics import Metrics
from service.gateway.routes import classify, embed, explain, models, problem_pages, segment, swagger, v2
from service.gateway.routes.fast_path import FastPathMiddleware
from service.gateway.routes.openapi import describe
from service.models import cards

ROUTERS: tuple[APIRouter, ...] = (
    classify.router,
    segment.router,
    embed.router,
    explain.router,
    v2.router,
    models.router,
    problem_pages.router,
    swagger.router,
)

UNMATCHED = "unmatched"
SETTLE_S = 10.0
LEASE_SPARE_S = 30.0  # that a request may take longer than upload and answer are allowed to

# FastAPI would look for OpenTelemetry's providers at every request and log messages of errors; ours do neither.
NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)


class Application(FastAPI):
    """FastAPI with our layers around all of its own, which what they answer themselves never meets."""

    def build_middleware_stack(self) -> ASGIApp:
        """Starlette asks for it once."""
        layers, self.user_middleware = self.user_middleware, []
        app = super().build_middleware_stack()
        self.user_middleware = layers
        if isinstance(app, ServerErrorMiddleware):
            app = app.app  # `CrashMiddleware` answers what it would, with a problem
        for cls, args, kwargs in reversed(layers):
            app = cls(app, *args, **kwargs)
        return app


def create_app(settings: Settings, backend: Backend | None = None, sitting: SlotMember = ALONE) -> FastAPI:
    """The app of these settings, asking `backend`, or the TorchServe that the settings name, alone or among others.

    Raises `CardError` for a model store that cannot be served, `KeysError` for keys and `TrafficError` for a traffic
    file that cannot be used. The parts are made when the lifespan begins.
    """
    catalogue = ModelRegistry(cards.read_all(settings.model_store), settings)
    metrics = Metrics(sitting.figures)
    shares = read(settings.traffic_file, catalogue, metrics.traffic_stale.set) if settings.traffic_file else None
    callers = callers_of(settings, metrics)
    limits = RateLimiter(quotas_of(settings, metrics), settings.quota, settings.max_images)

    def parts() -> Gateway:
        server = backend or TorchServe(settings.places, metrics.second_try)
        return Gateway(settings, metrics, catalogue, server, callers, limits, shares, sitting)

    app: FastAPI = Application(
        title="resnest-service",
        version=__version__,
        lifespan=lifespan_of(parts, sitting),
        openapi_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
        middleware=around(settings, metrics, callers, limits, lambda: app.state.gateway.readiness.draining),
        exception_handlers={
            ServiceError: problems.on_service_error,
            RequestValidationError: problems.on_invalid,
            HTTPException: problems.on_http_error,
        },
    )
    app.state.metrics = metrics
    for router in ROUTERS:
        app.include_router(router)
    describe(app)
    return app


def around(
    settings: Settings, metrics: Metrics, callers: Authenticator, limits: RateLimiter, is_draining: Callable[[], bool]
) -> list[Middleware]:
    """What happens around every request, outermost first."""
    door = Middleware(
        AccessMiddleware,
        callers=callers,
        limits=limits,
        proxies=settings.trusted_proxies,
        metrics=metrics,
        unmatched=UNMATCHED,
        admin_port=settings.admin_port,
    )
    return [
        Middleware(HeadMiddleware),
        Middleware(LingerMiddleware),
        Middleware(ContextMiddleware, is_draining=is_draining),
        Middleware(MetricsMiddleware, metrics=metrics, template_of=templates(ROUTERS)),
        *([Middleware(CorsMiddleware, origins=settings.cors_origins)] if settings.cors_origins else []),
        Middleware(CrashMiddleware, metrics=metrics),
        door,
        Middleware(
            FastPathMiddleware, routes=[route for router in ROUTERS for route in router.routes], metrics=metrics
        ),
    ]


def callers_of(settings: Settings, metrics: Metrics) -> Authenticator:
    """What tells callers apart, by the settings. Raises `KeysError`."""
    has_keys = settings.keys.strip() or settings.keys_file
    tell = metrics.keys_stale.labels("keys").set
    keyring = Keyring(settings.keys, settings.keys_file, tell) if has_keys else None
    return Authenticator(keyring, tokens_of(settings, metrics) if settings.jwt_keys else None)


def tokens_of(settings: Settings, metrics: Metrics) -> TokenVerifier:
    """What verifies tokens, by the settings. Raises `KeysError`."""
    try:
        from service.gateway.access.jwt import JwtRules, JwtVerifier  # noqa: PLC0415 - PyJWT is an extra
    except ModuleNotFoundError as error:
        raise KeysError(f"RESNEST_JWT_KEYS needs {error.name}: install resnest-service[jwt]") from error
    trust = JwtRules(
        settings.jwt_audience,
        settings.jwt_issuer,
        settings.jwt_algorithms,
        settings.jwt_scope_claim,
        settings.jwt_leeway_s,
    )
    return JwtVerifier(settings.jwt_keys, trust, metrics.keys_stale.labels("tokens").set)


def quotas_of(settings: Settings, metrics: Metrics) -> TokenBuckets:
    """Where callers' allowances are counted, by the settings. Raises `KeysError`."""
    url = settings.redis_url.get_secret_value()
    if not url:
        return LocalTokenBuckets()
    try:
        from service.gateway.access.redis_bucket import RedisTokenBuckets  # noqa: PLC0415 - redis is an extra
    except ModuleNotFoundError as error:
        raise KeysError(f"RESNEST_REDIS_URL needs {error.name}: install resnest-service[redis]") from error
    lease_s = settings.upload_timeout_s + settings.max_request_timeout_s + LEASE_SPARE_S
    alone = LocalTokenBuckets() if settings.redis_fallback == "local" else None
    try:
        return RedisTokenBuckets(url, settings.redis_timeout_s, lease_s, alone, metrics.limits_failing.set)
    except ValueError as error:
        raise KeysError(f"RESNEST_REDIS_URL: {error}") from None


def lifespan_of(
    parts: Callable[[], Gateway], sitting: SlotMember
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The app's life: the parts are made at its beginning, inside the event loop, and closed at its end.

    A process that takes another's place is asked nothing before its models have answered, or for `SETTLE_S`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.gateway = gateway = parts()
        gateway.start()
        if sitting.replaces:
            gateway.metrics.replaced.inc()
            await gateway.readiness.settle_in(SETTLE_S)
        try:
            yield
        finally:
            await gateway.close()

    return lifespan


def templates(routers: Sequence[APIRouter]) -> Callable[[str], str]:
    """What finds the template of the route that serves a path, or the one label of all other paths."""
    routes = [(route.path_regex, route.path_format) for router in routers for route in router.routes]  # type: ignore[attr-defined]
    fixed = {template for _, template in routes if "{" not in template}

    def template_of(path: str) -> str:
        if path in fixed:
            return path
        return next((template for pattern, template in routes if pattern.match(path)), UNMATCHED)

    return template_of
