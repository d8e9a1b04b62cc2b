"""Set the headers for browsers: which other sites may call the service (CORS), and security headers."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

# Sent with every response; a page that needs more has its own policy. Encryption, and so HSTS, is the proxy's task.
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Headers, in ASGI form, of a response that does not set them itself.
DEFAULT_HEADERS: Final = tuple(
    (name.lower().encode(), value.encode()) for name, value in {**SECURITY_HEADERS, "Cache-Control": "no-store"}.items()
)
METHODS: Final = ("GET", "HEAD", "POST")
# What a page may send and read, beyond the CORS-safelisted headers (Accept, the Content-Type of a form).
ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "Inference-Header-Content-Length",
    "Priority",
    "Request-Timeout",
    "X-API-Key",
    "X-Model-Version",
    "X-Request-ID",
    "traceparent",
    "tracestate",
)
EXPOSED_HEADERS: Final = (
    "Accept-Post",
    "Allow",
    "Cache-Status",
    "ETag",
    "Inference-Header-Content-Length",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
    "X-Model-Version",
    "X-Request-ID",
)
MAX_AGE_S: Final = 600  # a browser caches the permission; a change of the origins takes effect after that time


class CorsMiddleware(CORSMiddleware):
    """Starlette's CORS middleware, for pages that send an API key; the service uses no cookies.

    A preflight request for something forbidden gets a response without the permission, not an error: the browser then
    blocks the request.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """Allow `origins`, which are exact, or `*` alone for every site."""
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=MAX_AGE_S,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return Starlette's preflight response as 204 without its text body."""
        headers = super().preflight_response(request_headers).headers
        return Response(
            status_code=204, headers={name: value for name, value in headers.items() if not name.startswith("content-")}
        )
