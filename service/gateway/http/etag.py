"""What tells one answer from another, and whether the client has it already (RFC 9110, sections 8.8.3 and 13.1.2)."""

import hashlib
import re
from collections.abc import Iterable

from starlette.requests import Request

from service import __version__
from service.errors import PreconditionFailed

HEADERS = ("accept", "accept-language")  # that the form of an answer depends on
TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def tag_of(request: Request, parts: Iterable[bytes]) -> str:
    """The entity tag of the answer to a request about `parts`: weak, as its id and times are others each time."""
    digest = hashlib.sha256()
    asked = (request.url.path, request.url.query, *(request.headers.get(name, "") for name in HEADERS), __version__)
    for part in [*(text.encode() for text in asked), *parts]:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f'W/"{digest.hexdigest()[:32]}"'


def check(request: Request, tag: str) -> None:
    """Raise `PreconditionFailed` where `If-None-Match` names the answer that would be sent.

    `*` names what is stored, and nothing is.
    """
    ours = TAG.findall(tag)
    if set(ours) & set(TAG.findall(",".join(request.headers.getlist("if-none-match")))):
        raise PreconditionFailed("If-None-Match names the answer that would be sent.")
