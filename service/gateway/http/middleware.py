"""Wrap every request in plain ASGI middleware, outermost first."""

import asyncio
import logging
import random
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, Internal
from service.gateway.http.access_log import AccessLog, record_of
from service.gateway.http.cors import DEFAULT_HEADERS
from service.gateway.http.problems import ClientGoneError, respond
from service.gateway.metrics import Metrics

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
CLIENT_GONE = 499  # nginx's status for a client that closed the connection
LINGER_S = 2.0
LINGER_BYTES = 1 << 22
BODY_WAIT_S = 0.005  # a response that is ready before the end of a small body waits so long for that end
SMALL_BODY_BYTES = 1 << 20
LENGTH_DIGITS = 9
BODY_COMPLETE = "body_complete"  # set in a request's state by the protocol, possibly before the body is read

TemplateOf = Callable[[str], str]


class HeadMiddleware:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return self.app(scope, receive, send)

        async def headers_only(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        return self.app({**scope, "method": "GET"}, receive, headers_only)


class LingerMiddleware:
    """Closes the connection after a response that was sent before the end of the request body (lingering close).

    The client first gets time to read the response: closing with unread bytes resets the connection, and the reset can
    overtake the response. A client that waits for `100 Continue` has sent no body yet, so nothing is read. If the rest
    of a small body arrives within `BODY_WAIT_S`, the connection is kept: a new one costs both sides more than most
    responses.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one request."""
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        if not (b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"):
            return self.app(scope, receive, send)
        complete = False
        awaits_continue = b"expect" in headers

        async def watched() -> Message:
            nonlocal complete, awaits_continue
            awaits_continue = False
            message = await receive()
            complete = complete or not message.get("more_body", False)
            return message

        async def closing(message: Message) -> None:
            nonlocal complete
            complete = complete or BODY_COMPLETE in scope["state"]
            if message["type"] == "http.response.start" and not complete:
                if (
                    not awaits_continue
                    and message["status"] != BodyTooLarge.status
                    and is_small(headers.get(b"content-length", b""))
                ):
                    complete = await _discard(receive, SMALL_BODY_BYTES, BODY_WAIT_S)
                if not complete:
                    MutableHeaders(scope=message)["Connection"] = "close"
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if last and not complete and not awaits_continue:
                await send({**message, "more_body": True})
                await _discard(receive, LINGER_BYTES, LINGER_S)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        return self.app(scope, watched, closing)


class ContextMiddleware:
    """Sets the request's id, start time and route, adds the common headers, and counts, times and logs the request.

    The `route` is the template of the path; paths without a route share one. `status` in the request's state is that of
    a started response. After the response the follow-up work starts.
    """

    def __init__(
        self,
        app: ASGIApp,
        is_draining: Callable[[], bool],
        metrics: Metrics,
        template_of: TemplateOf,
        access_log: AccessLog,
    ) -> None:
        self.app = app
        self._is_draining = is_draining
        self._metrics = metrics
        self._template_of = template_of
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, route, started = id_of(scope["headers"]), self._template_of(scope["path"]), time.perf_counter()
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, route=route, started=started)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                self._add_headers(message, state)
            elif not message.get("more_body", False):
                state["answered"] = time.perf_counter()
            await send(message)

        in_flight = self._metrics.in_flight.labels(route)
        in_flight.inc()
        try:
            await self.app(scope, receive, with_headers)
        finally:
            in_flight.dec()
            method = scope["method"] if scope["method"] in METHODS else "other"
            status, ended = state.get("status", CLIENT_GONE), time.perf_counter()
            seconds, processing_s = ended - started, state.get("answered", ended) - state.get("body_ended", started)
            self._metrics.count_request(route, method, status, seconds, processing_s)
            if code := state.get("code"):
                self._metrics.count_excused(
                    route,
                    code,
                    ends_early=state.get("ends_early", False),
                    is_background=state.get("is_background", False),
                )
            if self._access_log.wants(route, status):
                self._access_log.record(record_of(scope, status, seconds))
        # Popped, because it holds uploads and the state lives as long as the connection.
        if afterwards := state.pop("afterwards", None):
            afterwards()

    def _add_headers(self, message: Message, state: Mapping[str, Any]) -> None:
        present = {name for name, _ in message["headers"]}
        more = [line for line in DEFAULT_HEADERS if line[0] not in present]
        message["headers"] = [*message["headers"], (b"x-request-id", state["request_id"].encode()), *more]
        if (permit := state.get("permit")) and (limits := permit.headers()):
            MutableHeaders(scope=message).update(limits)
        if self._is_draining():  # so that no new request arrives on a connection that is about to close
            MutableHeaders(scope=message)["Connection"] = "close"


class CrashMiddleware:
    """Turns an unexpected exception into the problem `internal`, and logs its request id and traceback.

    The exception's message is in neither of them: it may contain bytes of an upload.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except ClientGoneError:
            return
        except Exception as error:
            request_id = scope["state"]["request_id"]
            log.error(
                "crash: %s", type(error).__name__, extra={"request_id": request_id, "exception": _traceback(error)}
            )
            if "status" in scope["state"]:
                raise
            detail = "Something went wrong on our side."
            await respond(self._metrics, scope, Internal(detail))(scope, receive, send)


def new_id() -> str:
    """Return a random request id of 32 hexadecimal digits."""
    return f"{random.getrandbits(128):032x}"


def id_of(lines: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id that these headers bring, or a new one if there is none or it is invalid."""
    given = next((value for name, value in lines if name == b"x-request-id"), b"").decode("latin-1")
    return given if REQUEST_ID.fullmatch(given) else new_id()


def is_small(declared: bytes) -> bool:
    """Return whether a body of that `Content-Length` is small enough to wait for."""
    return len(declared) <= LENGTH_DIGITS and declared.isdigit() and int(declared) <= SMALL_BODY_BYTES


async def _discard(receive: Receive, max_bytes: int, timeout_s: float) -> bool:
    """Read and discard the rest of the body within bounds; return whether that was all of it."""
    try:
        async with asyncio.timeout(timeout_s):
            while max_bytes > 0:
                message = await receive()
                max_bytes -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return bool(message["type"] == "http.request")
    except TimeoutError:
        return False
    return False


def _traceback(error: BaseException) -> str:
    """Return the types and stack frames of an exception, of its group members and its causes, without messages."""
    lines = [f"{type(error).__name__}\n", *traceback.format_tb(error.__traceback__)]
    inner = [*getattr(error, "exceptions", ()), *([error.__cause__] if error.__cause__ else [])]
    return "".join(lines) + "".join(_traceback(each) for each in inner)
