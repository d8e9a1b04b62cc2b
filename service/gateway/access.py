"""Which path is open to whom: the door of every request, before anything of its body is read."""

from typing import Final, NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Forbidden, ServiceError, Unauthenticated
from service.gateway.callers import NOBODY, Caller, Callers
from service.gateway.metrics import Metrics
from service.gateway.problems import respond
from service.keys import Scope as KeyScope


class Rule(NamedTuple):
    """Who may use a route: everybody, every caller with a key, or every key of a scope."""

    is_open: bool = False
    scope: KeyScope | None = None


UNKNOWN, LET_IN = "unknown", "let_in"

REALM = 'Bearer realm="resnest-service"'

OPEN, ANY_KEY = Rule(is_open=True), Rule()
CLASSIFY, SEGMENT, ADMIN = Rule(scope="classify"), Rule(scope="segment"), Rule(scope="admin")

# By the template of the route. One that is forgotten here is for administrators.
RULES: Final[dict[str, Rule]] = {
    "/v1/classify": CLASSIFY,
    "/v1/segment": SEGMENT,
    "/v1/embed": CLASSIFY,
    "/v1/explain": CLASSIFY,
    "/v1/models": ANY_KEY,
    "/v1/models/{name}": ANY_KEY,
    "/livez": OPEN,
    "/readyz": OPEN,
    "/metrics": ADMIN,
    "/": OPEN,
    "/docs": OPEN,
    "/openapi.json": OPEN,
    "/problems": OPEN,
    "/problems/{code}": OPEN,
}


def rule_of(route: str, unmatched: str) -> Rule:
    """Who may use a route by its template; what matches none is answered 404 to everybody."""
    return OPEN if route == unmatched else RULES.get(route, ADMIN)


class Access:
    """Lets in who may come in, and leaves its name in the request's state."""

    def __init__(self, app: ASGIApp, callers: Callers, metrics: Metrics, unmatched: str) -> None:
        self.app = app
        self._callers = callers
        self._metrics = metrics
        self._unmatched = unmatched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        rule = rule_of(scope["state"]["route"], self._unmatched)
        try:
            if not rule.is_open:
                caller = self._admit(scope, rule)
                # Where nobody is asked, callers are told apart by their addresses.
                scope["state"]["caller"] = None if caller is NOBODY else caller.name
        except ServiceError as error:
            refusal = respond(self._metrics, scope["state"]["request_id"], error, challenge(error))
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _admit(self, scope: Scope, rule: Rule) -> Caller:
        try:
            caller = self._callers.identify(Headers(scope=scope))
        except Unauthenticated as error:
            self._metrics.callers.labels(UNKNOWN, error.code()).inc()
            raise
        if rule.scope is not None and rule.scope not in caller.scopes:
            self._metrics.callers.labels(caller.name, Forbidden.code()).inc()
            raise Forbidden(f"This path needs a key of the scope {rule.scope}.", required_scope=rule.scope)
        self._metrics.callers.labels(caller.name, LET_IN).inc()
        return caller


def challenge(error: ServiceError) -> dict[str, str]:
    """The `WWW-Authenticate` of a refusal (RFC 6750, section 3)."""
    if isinstance(error, Unauthenticated):
        return {
            "WWW-Authenticate": REALM if error.members["reason"] == "missing" else f'{REALM}, error="invalid_token"'
        }
    if isinstance(error, Forbidden):
        return {"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{error.members["required_scope"]}"'}
    return {}
