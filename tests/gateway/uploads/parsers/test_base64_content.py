"""Base64 as encoders, shells and web pages write it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidBase64
from service.gateway.uploads.parsers.base64_content import decode

DATA = bytes(range(256)) * 3 + b"\xfb\xef\xff\xfe"  # its text has +, / and padding
TEXT = base64.b64encode(DATA).decode()

READ: dict[str, tuple[str, str | None]] = {
    "plain": (TEXT, None),
    "lines of 76 characters (GNU base64, MIME)": (base64.encodebytes(DATA).decode(), None),
    "lines that end with CR LF": (base64.encodebytes(DATA).decode().replace("\n", "\r\n"), None),
    "a line end behind it": (TEXT + "\n", None),
    "blanks around it": (f"  {TEXT} ", None),
    "without padding (JavaScript libraries, JWT)": (TEXT.rstrip("="), None),
    "the alphabet for URLs": (base64.urlsafe_b64encode(DATA).decode(), None),
    "that alphabet without padding": (base64.urlsafe_b64encode(DATA).decode().rstrip("="), None),
    "a data: URI": ("data:image/png;base64," + TEXT, "image/png"),
    "one with parameters": ("data:image/png;charset=x;name=a.png;base64," + TEXT, "image/png;charset=x;name=a.png"),
    "one in capitals": ("DATA:image/PNG;BASE64," + TEXT, "image/PNG"),
    "one without a type": ("data:;base64," + TEXT, ""),
    "one with a blank behind its comma": ("data:image/png;base64, " + TEXT, "image/png"),
    "one with percent signs": (
        "data:image/png;base64," + TEXT.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D"), "image/png"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_what_has_one_meaning_only_is_read(case: str) -> None:
    text, declared = READ[case]
    assert decode(text) == (DATA, declared)


REFUSED = {
    "plus signs that became blanks": (TEXT.replace("+", " "), "may be plus signs"),
    "a URL": ("https://example.org/a.png", "fetches none"),
    "Python's bytes": (f"b'{TEXT}'", r"\.decode\(\)"),
    "JavaScript's object": ("[object Promise]", "JavaScript object as text"),
    "markup": ("<img src='data:image/png;base64,AAAA'>", "markup"),
    "the path of a file": ("C:\\a.png", "name of a file"),
    "the name of a file, as for curl": ("@cat.jpg", "name of a file"),
    "one character too many": ("AAAAA", "not base64"),
    "too much padding": ("AAAA=", "not base64"),
    "padding in the middle": ("AA==AA==", "not base64"),
    "another script": ("ÄÄÄÄ", "not base64"),
    "a data: URI of text": ("data:image/png,%89PNG", "needs ;base64 and a comma"),
    "a data: URI without its comma": ("data:image/png;base64" + TEXT, "needs ;base64 and a comma"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_base64_or_may_have_changed_is_refused_with_the_reason(case: str) -> None:
    text, words = REFUSED[case]
    with pytest.raises(InvalidBase64, match=words):
        decode(text)


@given(st.binary(max_size=100), st.integers(1, 40))
def test_line_ends_anywhere_change_nothing(data: bytes, width: int) -> None:
    text = base64.b64encode(data).decode()
    assert decode("\n".join(text[at : at + width] for at in range(0, len(text), width)))[0] == data
