"""The routes of the playground: the page at `/`, its files, and the icon that browsers request for every page."""

import re
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from service.errors import RouteNotFound
from service.gateway.components import ComponentsDep
from service.gateway.http.media_types import JSON
from service.gateway.http.negotiation import preferred
from service.gateway.playground.page_files import PageFile, read_page_files
from service.gateway.playground.text_page import address_of, text_page

# No inline script, no inline style, and no string that becomes code or markup (Trusted Types). Previews are blob: URLs.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)
VARY: Final = {"Vary": "Accept"}
PAGE_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
    **VARY,
}
FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}  # the URL has the fingerprint of the content
ONE_DAY: Final = {"Cache-Control": "public, max-age=86400"}
# A client that accepts anything, such as curl, gets the text, and so does one that accepts neither.
TEXT, HTML = "text/plain", "text/html"
TAG: Final = re.compile(r'"[^"]*"')


def pages_router(*, has_playground: bool) -> APIRouter:
    """Return the routes. Without the playground `/` redirects browsers to the API reference."""
    router = APIRouter(include_in_schema=False)
    found = read_page_files()

    @router.get("/favicon.ico")
    async def icon(request: Request) -> Response:
        return respond(request, found.icon, ONE_DAY)

    @router.get("/")
    async def home(request: Request, components: ComponentsDep) -> Response:
        if preferred(request.headers.get("accept"), (TEXT, JSON, HTML)) != HTML:
            cards, needs_key = components.registry.cards.values(), components.settings.authenticates_callers
            text = text_page(address_of(request), cards, has_playground=has_playground, needs_key=needs_key)
            return PlainTextResponse(text, headers=VARY)
        return respond(request, found.page, PAGE_HEADERS) if has_playground else RedirectResponse("docs", headers=VARY)

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
