"""The text at `/` for clients that do not ask for HTML, such as curl: a first request, and where to read on."""

import re
from collections.abc import Collection
from typing import Final

from starlette.requests import Request

from service import __version__
from service.host.served_models.ready_lines import first_request
from service.models.cards import ModelCard

HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
# A proxy that sends one of these may also have added TLS, or have taken a prefix off the path.
PROXY_HEADERS: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
PLACEHOLDER: Final = "URL"


def address_of(request: Request) -> str | None:
    """Return the URL by which the client reached the service; None if a proxy may have changed it."""
    host = request.headers.get("host", "")
    is_direct = not any(name in request.headers for name in PROXY_HEADERS)
    return f"{request.url.scheme}://{host}" if is_direct and HOST.fullmatch(host) else None


def text_page(address: str | None, cards: Collection[ModelCard], *, has_playground: bool, needs_key: bool) -> str:
    """Return the text. `address` is the URL of the service, as the client knows it."""
    url = address or PLACEHOLDER
    lines = [
        f"resnest-service {__version__}",
        "",
        f"Send a photo:  {first_request(url, cards, needs_key=needs_key)}",
        f"Read the API:  {url}/docs",
    ]
    if has_playground:
        lines.append(f"Try it:        {url}/ in a browser")
    if needs_key:
        lines.append("KEY is your API key.")
    if address is None:
        lines.append(f"{PLACEHOLDER} is the address of this text.")
    return "\n".join([*lines, ""])
