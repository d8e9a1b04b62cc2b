"""What happens around every request, as plain ASGI classes, outermost first."""

import asyncio
import logging
import random
import re
import time
import traceback
from collections.abc import Callable, Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, Internal
from service.gateway.http.cors import STANDING
from service.gateway.http.problems import ClientGoneError, respond
from service.gateway.metrics import Metrics

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
CLIENT_GONE = "499"  # nginx's word for it
LINGER_S = 2.0
LINGER_BYTES = 1 << 22
SOON_S = 0.005  # that an answer before the body's end waits for that end
SOON_BYTES = 1 << 20
LENGTH_DIGITS = 9
WHOLE = "whole"  # in a request's state: its body has arrived, as the protocol knows before anybody reads it

TemplateOf = Callable[[str], str]


class HeadMiddleware:
    """Answers HEAD wherever GET is answered, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def headers_only(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET"}, receive, headers_only)


class LingerMiddleware:
    """Closes the connection after an answer that came before the body's end, once the client has had time to read it.

    Closing at once would reset a connection with unread bytes, and the reset can overtake the answer. A client that
    asks before it sends (`Expect: 100-continue`) and was not told to go on has sent none. Where the rest of a small
    body comes at once, the connection is kept: a new one costs both sides more than most answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        sent = dict(scope["headers"]) if scope["type"] == "http" else {}
        if not (b"transfer-encoding" in sent or sent.get(b"content-length", b"0") != b"0"):
            await self.app(scope, receive, send)
            return
        whole = False
        quiet = b"expect" in sent

        async def watched() -> Message:
            nonlocal whole, quiet
            quiet = False
            message = await receive()
            whole = whole or not message.get("more_body", False)
            return message

        async def closing(message: Message) -> None:
            nonlocal whole
            whole = whole or WHOLE in scope["state"]
            if message["type"] == "http.response.start" and not whole:
                if (
                    not quiet
                    and message["status"] != BodyTooLarge.status
                    and is_small(sent.get(b"content-length", b""))
                ):
                    whole = await _drop(receive, SOON_BYTES, SOON_S)
                if not whole:
                    MutableHeaders(scope=message)["Connection"] = "close"
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if last and not whole and not quiet:
                await send({**message, "more_body": True})
                await _drop(receive, LINGER_BYTES, LINGER_S)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self.app(scope, watched, closing)


class ContextMiddleware:
    """Gives the request its id and clock, and the response the headers that all have; then begins what comes after.

    Leaves the `status` of a begun response in the request's state.
    """

    def __init__(self, app: ASGIApp, is_draining: Callable[[], bool]) -> None:
        self.app = app
        self._is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = id_of(scope["headers"])
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, started=time.perf_counter())

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                said = {name for name, _ in message["headers"]}
                more = [line for line in STANDING if line[0] not in said]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *more]
                if (visit := state.get("visit")) and (limits := visit.headers()):
                    MutableHeaders(scope=message).update(limits)
                if self._is_draining():  # so that no request comes on a connection about to be closed
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self.app(scope, receive, with_headers)
        if afterwards := state.pop(
            "afterwards", None
        ):  # uploads are in it, and the state stays while the connection does
            afterwards()


class MetricsMiddleware:
    """Counts and times every request by its route's template; paths that match none share one label."""

    def __init__(self, app: ASGIApp, metrics: Metrics, template_of: TemplateOf) -> None:
        self.app = app
        self._metrics = metrics
        self._template_of = template_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope["state"]
        route = state["route"] = self._template_of(scope["path"])
        method = scope["method"] if scope["method"] in METHODS else "other"
        in_flight = self._metrics.in_flight.labels(route)
        in_flight.inc()
        try:
            await self.app(scope, receive, send)
        finally:
            in_flight.dec()
            self._metrics.requests.labels(route, method, str(state.get("status", CLIENT_GONE))).inc()
            self._metrics.duration.labels(route, method).observe(time.perf_counter() - state["started"])


class CrashMiddleware:
    """Turns an error that nobody expected into the problem Internal; the log has the request id and the places.

    The error's own message stays out of both: it may hold bytes of an upload.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except ClientGoneError:
            return
        except Exception as error:
            request_id = scope["state"]["request_id"]
            log.error("crash request_id=%s %s", request_id, _places(error))
            if "status" in scope["state"]:
                raise
            detail = "Something went wrong on our side."
            await respond(self._metrics, scope, Internal(detail))(scope, receive, send)


def new_id() -> str:
    """The id of a request that brings none: 32 hexadecimal digits, drawn."""
    return f"{random.getrandbits(128):032x}"


def id_of(lines: Iterable[tuple[bytes, bytes]]) -> str:
    """The id of a request with these headers."""
    sent = next((value for name, value in lines if name == b"x-request-id"), b"").decode("latin-1")
    return sent if REQUEST_ID.fullmatch(sent) else new_id()


def is_small(declared: bytes) -> bool:
    """Whether a body of that `Content-Length` is worth waiting for."""
    return len(declared) <= LENGTH_DIGITS and declared.isdigit() and int(declared) <= SOON_BYTES


async def _drop(receive: Receive, most: int, timeout_s: float) -> bool:
    """Read and forget what is still coming, for a bounded time and size; whether that was all."""
    try:
        async with asyncio.timeout(timeout_s):
            while most > 0:
                message = await receive()
                most -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return bool(message["type"] == "http.request")
    except TimeoutError:
        return False
    return False


def _places(error: BaseException) -> str:
    """The kinds of error and where they were raised, through groups and causes."""
    lines = [f"{type(error).__name__}\n", *traceback.format_tb(error.__traceback__)]
    inner = [*getattr(error, "exceptions", ()), *([error.__cause__] if error.__cause__ else [])]
    return "".join(lines) + "".join(_places(each) for each in inner)
