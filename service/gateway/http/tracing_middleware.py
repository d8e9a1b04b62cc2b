"""Give each request a span, with the one that `traceparent` names as its parent."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from starlette.types import ASGIApp, Receive, Scope, Send

from service.gateway.http.access_log import UNLOGGED
from service.gateway.http.middleware import CLIENT_GONE, METHODS
from service.gateway.metrics.request_spans import PROPAGATOR, RecordedTracing, fail

OTHER_METHOD: Final = ("HTTP", "_OTHER")  # in OpenTelemetry's span names and attributes
HEADERS: Final = (b"traceparent", b"tracestate")
# The attributes of a request's span, by the members of its log line.
FACTS: Final = {
    "model": "resnest.model",
    "version": "resnest.version",
    "bytes": "http.request.body.size",
    "images": "resnest.images",
    "pixels": "resnest.pixels",
    "failed": "resnest.images.failed",
}


class TracingMiddleware:
    """Records a span of each request but probes and `/metrics`, outside of what counts, times and logs the request."""

    def __init__(self, app: ASGIApp, tracing: RecordedTracing, template_of: Callable[[str], str]) -> None:
        self.app = app
        self._tracer = tracing.tracer
        self._template_of = template_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or (route := self._template_of(scope["path"])) in UNLOGGED:
            await self.app(scope, receive, send)
            return
        with self._span(scope, route):
            await self.app(scope, receive, send)

    @contextmanager
    def _span(self, scope: Scope, route: str) -> Iterator[None]:
        name, method = (scope["method"], scope["method"]) if scope["method"] in METHODS else OTHER_METHOD
        parent = PROPAGATOR.extract(_carrier(scope))
        facts = {"http.request.method": method, "http.route": route, "url.scheme": scope["scheme"]}
        span = self._tracer.start_span(f"{name} {route}", parent, SpanKind.SERVER, facts)
        state = scope.setdefault("state", {})
        if (found := span.get_span_context()).is_valid:
            state["trace_id"] = f"{found.trace_id:032x}"
        token = contexts.attach(trace.set_span_in_context(span, parent))
        try:
            yield
        finally:
            contexts.detach(token)
            if span.is_recording():
                _describe(span, state)
            span.end()


def _carrier(scope: Scope) -> Mapping[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}


def _describe(span: Span, state: Mapping[str, Any]) -> None:
    """Set what is known of a request at its end: nothing of its content, no query, and no key."""
    status = state.get("status", CLIENT_GONE)
    found = state.get("facts", {})
    span.set_attributes({name: found[member] for member, name in FACTS.items() if found.get(member) is not None})
    span.set_attributes({"http.response.status_code": status, "resnest.request_id": state["request_id"]})
    if "permit" in state:
        span.set_attribute("resnest.caller", state["permit"].caller.label)
    if status >= 400:
        fail(span, state.get("code") or str(status), is_ours=status >= 500)
