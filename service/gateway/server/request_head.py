"""Checks of a request's head that the HTTP parser leaves out, and one header that it misreads."""

import re
from collections.abc import Sequence

from httptools import HttpRequestParser

from service.errors import LengthRequired, MalformedRequest, ServiceError

UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
WITH_BODY = {b"POST", b"PUT", b"PATCH"}
# Headers that a request has once. Of two, one would have no effect.
SINGLE = (
    b"content-type",
    b"content-encoding",
    b"authorization",
    b"x-api-key",
    b"request-timeout",
    b"x-model-version",
    b"inference-header-content-length",
)


def without_upgrade(data: bytes) -> bytes:
    """Return the head without its `Upgrade` header, which a server may ignore (RFC 9110, section 7.8).

    Headers that are not complete yet stay as they are; such a request is rejected if it has a body.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or UPGRADE.search(data, 0, end) is None:
        return data
    return UPGRADE.sub(b"", data[:end]) + data[end:]


def fault_of(parser: HttpRequestParser, headers: Sequence[tuple[bytes, bytes]]) -> ServiceError | None:
    """Return the error of a head that breaks RFC 9112, or None. The names of `headers` are in lower case."""
    names = [name for name, _ in headers]
    is_chunked, has_length = b"transfer-encoding" in names, b"content-length" in names
    if fault := _fault_of_names(names, parser.get_http_version()):
        return fault
    if is_chunked:
        codings = b",".join(value for name, value in headers if name == b"transfer-encoding")
        if parser.get_http_version() != "1.1" or codings.strip().lower() != b"chunked":
            return MalformedRequest("Of the transfer codings only chunked is read, once, and in HTTP/1.1.")
    if is_chunked or has_length:
        if parser.should_upgrade():  # it would take the body for the next request
            return MalformedRequest("A request with a body offers another protocol (Upgrade).")
    elif parser.get_http_version() == "1.0" and parser.get_method() in WITH_BODY:
        return LengthRequired("A body in HTTP/1.0 needs a Content-Length.")
    return None


def _fault_of_names(names: Sequence[bytes], version: str) -> ServiceError | None:
    hosts = names.count(b"host")
    if hosts != 1 and (hosts or version == "1.1"):
        return MalformedRequest("A request of HTTP/1.1 needs one Host header (RFC 9112, section 3.2).")
    twice = len(names) > len(set(names)) and next((name for name in SINGLE if names.count(name) > 1), None)
    return MalformedRequest(f"The header {twice.decode()} is given more than once.") if twice else None
