"""Check each request's caller, scope and rate limit before its body is read."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Forbidden, RouteNotFound, ServiceError, Unauthenticated
from service.gateway.access.callers import Authenticator, Caller
from service.gateway.access.client_address import Network, client_of
from service.gateway.access.rate_limit import Permit, RateLimiter
from service.gateway.http.near_routes import NOTHING_HERE
from service.gateway.http.problems import respond
from service.gateway.metrics import Metrics
from service.tasks import TASKS


class AccessRule(NamedTuple):
    """The callers that may use a route: all, those with any key, or those whose key has a scope.

    With an admin port, admin routes are served there only, probes on both ports, and all other routes on the public
    port only. Routes that are `open_on_admin_port` need no key there.
    """

    is_open: bool = False
    scope: str | None = None
    is_probe: bool = False
    open_on_admin_port: bool = False

    def on_port(self, *, admin: bool) -> "AccessRule | None":
        """Return the rule on the admin port, or on the public port beside it; None if the route is not served there."""
        if not (self.is_probe or admin == (self.scope == "admin")):
            return None
        return OPEN if admin and self.open_on_admin_port else self


UNKNOWN, ADMITTED = "unknown", "admitted"

REALM = 'Bearer realm="resnest-service"'

OPEN, ANY_KEY = AccessRule(is_open=True), AccessRule()
ADMIN = AccessRule(scope="admin")
HEALTH, MONITORING = AccessRule(is_open=True, is_probe=True), AccessRule(scope="admin", open_on_admin_port=True)

# By route template, beside the routes of the tasks. A route that is missing is for administrators.
RULES: Final[dict[str, AccessRule]] = {
    "/v2": ANY_KEY,
    "/v2/health/live": OPEN,
    "/v2/health/ready": OPEN,
    "/v2/models/{name}": ANY_KEY,
    "/v2/models/{name}/versions/{version}": ANY_KEY,
    "/v2/models/{name}/ready": OPEN,
    "/v2/models/{name}/versions/{version}/ready": OPEN,
    # The route checks the scope of the model's task.
    "/v2/models/{name}/infer": ANY_KEY,
    "/v2/models/{name}/versions/{version}/infer": ANY_KEY,
    "/v2/models/{name}/config": ANY_KEY,
    "/v2/models/{name}/versions/{version}/config": ANY_KEY,
    "/v2/models/stats": MONITORING,
    "/v2/models/{name}/stats": MONITORING,
    "/v2/models/{name}/versions/{version}/stats": MONITORING,
    "/v2/repository/index": ANY_KEY,
    "/v1/models": ANY_KEY,
    "/v1/models/{name}": ANY_KEY,
    "/v1/traffic": MONITORING,
    "/livez": HEALTH,
    "/readyz": HEALTH,
    "/metrics": MONITORING,
    "/": OPEN,
    "/favicon.ico": OPEN,
    "/playground/{version}/{name}": OPEN,
    "/docs": OPEN,
    "/docs/{asset}": OPEN,
    "/openapi.json": OPEN,
    "/problems": OPEN,
    "/problems/{code}": OPEN,
}


def all_rules() -> dict[str, AccessRule]:
    """Return the rule of each route template. The routes of a task need its scope."""
    of_tasks = {each.path: AccessRule(scope=task.scope) for task in TASKS.values() for each in task.endpoints}
    return of_tasks | RULES


def rule_of(rules: Mapping[str, AccessRule], route: str, unmatched: str) -> AccessRule:
    """Return the rule of a route template. A path that matches no route is open, so that every caller gets 404."""
    return OPEN if route == unmatched else rules.get(route, ADMIN)


class AccessMiddleware:
    """ASGI middleware that rejects requests without access, and puts the caller and its `Permit` into the state.

    Administrators have no limits, because monitoring matters most when a caller sends too much.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        rate_limiter: RateLimiter,
        proxies: Sequence[Network],
        metrics: Metrics,
        unmatched: str,
        admin_port: int | None = None,
    ) -> None:
        """Trust the addresses that `proxies` report, and serve admin routes on `admin_port` only, if there is one."""
        self.app = app
        self._authenticator = authenticator
        self._rate_limiter = rate_limiter
        self._proxies = proxies
        self._metrics = metrics
        self._unmatched = unmatched
        self._rules = all_rules()
        self._admin_port = admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        rule = self._rule(scope) if scope["type"] == "http" else OPEN
        if rule is None:
            await self._reject(RouteNotFound(NOTHING_HERE), {}, scope, receive, send)
            return
        if rule.is_open:
            await self.app(scope, receive, send)
            return
        try:
            caller = self._identify(scope, rule)
        except ServiceError as error:
            await self._reject(error, challenge(error), scope, receive, send)
            return
        scope["state"]["caller"] = caller.name
        scope["state"]["scopes"] = caller.scopes
        if rule.scope == "admin":
            self._count(caller.label)
            await self.app(scope, receive, send)
        else:
            await self._serve_limited(caller, scope, receive, send)

    def _rule(self, scope: Scope) -> AccessRule | None:
        """Return the rule of the request's route; None if the route is not served on the request's port."""
        rule = rule_of(self._rules, scope["state"]["route"], self._unmatched)
        return rule if self._admin_port is None else rule.on_port(admin=scope["server"][1] == self._admin_port)

    def _identify(self, scope: Scope, rule: AccessRule) -> Caller:
        label = UNKNOWN
        try:
            headers, address = Headers(scope=scope), client_of(scope, self._proxies)
            caller = self._authenticator.identify(headers, address, scope.get("query_string", b""))
            label = caller.label
            if rule.scope is not None and rule.scope not in caller.scopes:
                raise Forbidden(f"This path needs a key with the scope {rule.scope}.", required_scope=rule.scope)
        except ServiceError as error:
            self._count(label, error.code())
            raise
        return caller

    async def _serve_limited(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request within its caller's limits; `ContextMiddleware` adds the headers of the permit."""
        permit: Permit = self._rate_limiter.permit(caller, scope["state"]["request_id"])
        scope["state"]["permit"] = permit
        try:
            await permit.begin()
        except ServiceError as error:
            self._count(caller.label, error.code())
            await self._reject(error, {}, scope, receive, send)
            return
        self._count(caller.label)
        try:
            await self.app(scope, receive, send)
        finally:
            await permit.end()

    async def _reject(
        self, error: ServiceError, headers: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        response = respond(self._metrics, scope, error, headers)
        await response(scope, receive, send)

    def _count(self, label: str, outcome: str = ADMITTED) -> None:
        self._metrics.callers.labels(label, outcome).inc()


def challenge(error: ServiceError) -> dict[str, str]:
    """Return the `WWW-Authenticate` header of a rejection (RFC 6750, section 3)."""
    if isinstance(error, Unauthenticated):
        return {
            "WWW-Authenticate": REALM if error.members["reason"] == "missing" else f'{REALM}, error="invalid_token"'
        }
    if isinstance(error, Forbidden):
        return {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{error.members["required_scope"]}"'}
    return {}
