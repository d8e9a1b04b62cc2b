"""Checks of heads, with the parser of the server. `tests/inputs/test_http.py` sends such heads to a gateway."""

import httptools
import pytest

from service.gateway.server.request_head import fault_of, without_upgrade


class Head:
    """Collects the headers of a request."""

    def __init__(self, text: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.parser = httptools.HttpRequestParser(self)
        self.code: str | None = "no head"
        self.parser.feed_data(text)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        fault = fault_of(self.parser, self.headers)
        self.code = fault.code() if fault else None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", None),
        (b"GET / HTTP/1.0\r\n\r\n", None),
        (b"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n", None),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"POST / HTTP/1.0\r\n\r\n", "length_required"),
        (b"PUT / HTTP/1.0\r\n\r\n", "length_required"),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "malformed_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "malformed_request"),
    ],
)
def test_a_head_has_the_fault_that_rfc_9112_names(text: bytes, code: str | None) -> None:
    assert Head(text).code == code


def test_an_offer_of_another_protocol_is_removed_from_a_complete_head() -> None:
    head = b"POST / HTTP/1.1\r\nUpgrade: h2c\r\nHost: a\r\n\r\nbody\r\nUpgrade: x\r\n\r\n"
    assert without_upgrade(head) == b"POST / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\nUpgrade: x\r\n\r\n"
    assert without_upgrade(head[:20]) == head[:20]
