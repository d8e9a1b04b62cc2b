"""Which path is open to whom, and how often: the door of every request, before anything of its body is read."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.config.api_keys import Scope as KeyScope
from service.errors import Forbidden, RouteNotFound, ServiceError, Unauthenticated
from service.gateway.access.callers import Authenticator, Caller
from service.gateway.access.client_address import Network, client_of
from service.gateway.access.rate_limit import Permit, RateLimiter
from service.gateway.http.problems import respond
from service.gateway.metrics import Metrics


class AccessRule(NamedTuple):
    """Who may use a route: everybody, every caller with a key, or every key of a scope.

    Where administrators have a door of their own, what is theirs is there alone, a probe at both doors, and all else at
    the public one. Whoever reaches their door needs no key for what is `open_inside`.
    """

    is_open: bool = False
    scope: KeyScope | None = None
    is_probe: bool = False
    open_inside: bool = False

    def at(self, *, inside: bool) -> "AccessRule | None":
        """The rule at administrators' own door, or at the public one beside it; None where the route is not there."""
        if not (self.is_probe or inside == (self.scope == "admin")):
            return None
        return OPEN if inside and self.open_inside else self


UNKNOWN, LET_IN = "unknown", "let_in"

REALM = 'Bearer realm="resnest-service"'

OPEN, ANY_KEY = AccessRule(is_open=True), AccessRule()
CLASSIFY, SEGMENT, ADMIN = AccessRule(scope="classify"), AccessRule(scope="segment"), AccessRule(scope="admin")
PROBE, WATCHED = AccessRule(is_open=True, is_probe=True), AccessRule(scope="admin", open_inside=True)

# By the template of the route. One that is forgotten here is for administrators.
RULES: Final[dict[str, AccessRule]] = {
    "/v1/classify": CLASSIFY,
    "/v1/segment": SEGMENT,
    "/v1/embed": CLASSIFY,
    "/v1/explain": CLASSIFY,
    "/v2": ANY_KEY,
    "/v2/health/live": OPEN,
    "/v2/health/ready": OPEN,
    "/v2/models/{name}": ANY_KEY,
    "/v2/models/{name}/versions/{version}": ANY_KEY,
    "/v2/models/{name}/ready": OPEN,
    "/v2/models/{name}/versions/{version}/ready": OPEN,
    # The scope is that of the model's task, which the route looks at.
    "/v2/models/{name}/infer": ANY_KEY,
    "/v2/models/{name}/versions/{version}/infer": ANY_KEY,
    "/v1/models": ANY_KEY,
    "/v1/models/{name}": ANY_KEY,
    "/v1/traffic": WATCHED,
    "/livez": PROBE,
    "/readyz": PROBE,
    "/metrics": WATCHED,
    "/": OPEN,
    "/docs": OPEN,
    "/docs/{asset}": OPEN,
    "/openapi.json": OPEN,
    "/problems": OPEN,
    "/problems/{code}": OPEN,
}


def rule_of(route: str, unmatched: str) -> AccessRule:
    """Who may use a route by its template; what matches none is answered 404 to everybody."""
    return OPEN if route == unmatched else RULES.get(route, ADMIN)


class AccessMiddleware:
    """Lets in who may come in, and leaves its name and its `Permit` in the request's state.

    Administrators have no limits: what they watch matters most when somebody sends too much.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        callers: Authenticator,
        limits: RateLimiter,
        proxies: Sequence[Network],
        metrics: Metrics,
        unmatched: str,
        admin_port: int | None = None,
    ) -> None:
        """`proxies` are believed when they say who called them; `admin_port` is administrators' own door."""
        self.app = app
        self._callers = callers
        self._limits = limits
        self._proxies = proxies
        self._metrics = metrics
        self._unmatched = unmatched
        self._admin_port = admin_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        rule = self._rule(scope) if scope["type"] == "http" else OPEN
        if rule is None:
            await self._refuse(RouteNotFound("Nothing is served at this path."), {}, scope, receive, send)
            return
        if rule.is_open:
            await self.app(scope, receive, send)
            return
        try:
            caller = self._identify(scope, rule)
        except ServiceError as error:
            await self._refuse(error, challenge(error), scope, receive, send)
            return
        scope["state"]["caller"] = caller.name
        scope["state"]["scopes"] = caller.scopes
        if rule.scope == "admin":
            self._count(caller.label)
            await self.app(scope, receive, send)
        else:
            await self._visit(caller, scope, receive, send)

    def _rule(self, scope: Scope) -> AccessRule | None:
        """Who may use what this request asks for; None where it is not served at the door that the request came to."""
        rule = rule_of(scope["state"]["route"], self._unmatched)
        return rule if self._admin_port is None else rule.at(inside=scope["server"][1] == self._admin_port)

    def _identify(self, scope: Scope, rule: AccessRule) -> Caller:
        label = UNKNOWN
        try:
            caller = self._callers.identify(Headers(scope=scope), client_of(scope, self._proxies))
            label = caller.label
            if rule.scope is not None and rule.scope not in caller.scopes:
                raise Forbidden(f"This path needs a key of the scope {rule.scope}.", required_scope=rule.scope)
        except ServiceError as error:
            self._count(label, error.code())
            raise
        return caller

    async def _visit(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what a caller with limits asks for; `Context` tells it in each answer where it stands."""
        visit: Permit = self._limits.visit(caller, scope["state"]["request_id"])
        scope["state"]["visit"] = visit
        try:
            await visit.begin()
        except ServiceError as error:
            self._count(caller.label, error.code())
            await self._refuse(error, {}, scope, receive, send)
            return
        self._count(caller.label)
        try:
            await self.app(scope, receive, send)
        finally:
            await visit.end()

    async def _refuse(
        self, error: ServiceError, headers: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        refusal = respond(self._metrics, scope, error, headers)
        await refusal(scope, receive, send)

    def _count(self, label: str, outcome: str = LET_IN) -> None:
        self._metrics.callers.labels(label, outcome).inc()


def challenge(error: ServiceError) -> dict[str, str]:
    """The `WWW-Authenticate` of a refusal (RFC 6750, section 3)."""
    if isinstance(error, Unauthenticated):
        return {
            "WWW-Authenticate": REALM if error.members["reason"] == "missing" else f'{REALM}, error="invalid_token"'
        }
    if isinstance(error, Forbidden):
        return {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{error.members["required_scope"]}"'}
    return {}
