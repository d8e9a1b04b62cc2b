"""The routes of the playground: the page at `/`, its files, and the icon that browsers request for every page."""

import re
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from service.errors import RouteNotFound
from service.gateway.http.negotiation import preferred
from service.gateway.playground.page_files import PageFile, read_page_files

# No inline script, no inline style, and no string that becomes code or markup (Trusted Types). Previews are blob: URLs.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}
FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}  # the URL has the fingerprint of the content
ONE_DAY: Final = {"Cache-Control": "public, max-age=86400"}
# A client that accepts anything, such as curl, is redirected as one that accepts no HTML.
OTHER, HTML = "application/json", "text/html"
TAG: Final = re.compile(r'"[^"]*"')


def pages_router(*, has_playground: bool) -> APIRouter:
    """Return the routes. Without the playground `/` redirects every client to the API reference."""
    router = APIRouter(include_in_schema=False)
    found = read_page_files()

    @router.get("/favicon.ico")
    async def icon(request: Request) -> Response:
        return respond(request, found.icon, ONE_DAY)

    @router.get("/")
    async def home(request: Request) -> Response:
        if has_playground and preferred(request.headers.get("accept"), (OTHER, HTML)) == HTML:
            return respond(request, found.page, PAGE_HEADERS)
        return RedirectResponse("docs", headers={"Vary": "Accept"})

    if has_playground:

        @router.get("/playground/{version}/{name:path}")
        async def page_file(request: Request, version: str, name: str) -> Response:
            if version != found.version or name not in found.others:
                raise RouteNotFound("The playground has no such file. Reload the page: it may be of another version.")
            return respond(request, found.others[name], FOREVER)

    return router


def respond(request: Request, file: PageFile, headers: dict[str, str]) -> Response:
    """Return the file, or 304 if the client has it (RFC 9110, section 13.1.2)."""
    sent = {"ETag": file.tag, **headers}
    held = request.headers.get("if-none-match", "")
    if held.strip() == "*" or file.tag in TAG.findall(held):
        return Response(status_code=304, headers=sent)
    return Response(file.content, media_type=file.media_type, headers=sent)
