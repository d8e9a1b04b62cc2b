"""What browsers are told: which other sites' pages may ask us, and how little our own pages may do."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

# Of every answer; a page that needs more says so in a policy of its own. Encryption, and HSTS with it, is the proxy's.
SAFE: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# What an answer has that says nothing else of it, as ASGI sends it.
STANDING: Final = tuple(
    (name.lower().encode(), value.encode()) for name, value in {**SAFE, "Cache-Control": "no-store"}.items()
)
METHODS: Final = ("GET", "HEAD", "POST")
# What a page may send beyond what every page may (CORS-safelisted: Accept, a form's Content-Type), and may read.
SENT: Final = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "Inference-Header-Content-Length",
    "Priority",
    "Request-Timeout",
    "X-API-Key",
    "X-Model-Version",
    "X-Request-ID",
)
READ: Final = (
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
MAX_AGE_S: Final = 600  # that a browser may remember a permission; a change of the origins is slower by that


class CorsMiddleware(CORSMiddleware):
    """Starlette's, for pages that send a key themselves: never with cookies, which we have none of.

    What is not allowed is a permission less and no error: the browser, which asked for its user, is who refuses.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins` are exact, or `*` alone for those of every site."""
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=SENT,
            expose_headers=READ,
            max_age=MAX_AGE_S,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Starlette's permissions, without its page of text."""
        told = super().preflight_response(request_headers).headers
        return Response(
            status_code=204, headers={name: value for name, value in told.items() if not name.startswith("content-")}
        )
