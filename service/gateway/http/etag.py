"""Make entity tags and check `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1.2)."""

import hashlib
import re
from collections.abc import Iterable

from starlette.requests import Request

from service import __version__
from service.errors import PreconditionFailed

HEADERS = ("accept", "accept-language")  # the form of a response depends on them
TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def entity_tag(request: Request, parts: Iterable[bytes]) -> str:
    """Return the entity tag of the response for `parts`: weak, because request id and times differ every time."""
    digest = hashlib.sha256()
    key = (request.url.path, request.url.query, *(request.headers.get(name, "") for name in HEADERS), __version__)
    for part in [*(text.encode() for text in key), *parts]:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f'W/"{digest.hexdigest()[:32]}"'


def check(request: Request, tag: str) -> None:
    """Raise `PreconditionFailed` if `If-None-Match` names the response that would be sent.

    `*` matches nothing: it stands for stored representations, and this service stores none.
    """
    current = TAG.findall(tag)
    if set(current) & set(TAG.findall(",".join(request.headers.getlist("if-none-match")))):
        raise PreconditionFailed("If-None-Match names the response that would be sent.")
