"""Multipart forms, split into chunks at any position."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MalformedMultipart, ServiceError
from service.gateway.uploads.multipart import DELIMITERS, FILENAME_CHARACTERS, MultipartForm

BOUNDARY = "AaB03x"

CONTENTS = st.lists(
    st.binary(max_size=300) | st.sampled_from([b"\r\n--AaB03", b"\r\n--AaB03\r\n", b"--", b"\r"]), max_size=4
)


def form(contents: list[bytes], filename: str = "a.png", name: str = "file") -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + content
        + b"\r\n"
        for content in contents
    ]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def parse(body: bytes, cuts: list[int]) -> MultipartForm:
    parsed = MultipartForm(f"multipart/form-data; boundary={BOUNDARY}", max_images=8)
    offsets = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in itertools.pairwise(offsets):
        parsed.feed(body[start:end])
    return parsed


@given(CONTENTS, st.lists(st.integers(min_value=0), max_size=12))
def test_the_parts_are_whole_wherever_the_chunks_are_cut(contents: list[bytes], cuts: list[int]) -> None:
    parts = parse(form(contents), cuts).finish()

    assert [bytes(part.content) for part in parts] == contents
    assert {(part.filename, part.declared) for part in parts} <= {("a.png", "image/png")}


@given(st.binary(max_size=400), st.lists(st.integers(min_value=0), max_size=4))
def test_any_bytes_are_parts_or_a_problem(body: bytes, cuts: list[int]) -> None:
    with suppress(ServiceError):
        parse(form([b"x"])[:-8] + body, cuts).finish()


@pytest.mark.parametrize("tail", [b"X", b"-X", b"\rX"])
def test_a_picture_made_of_boundaries_is_refused_early(tail: bytes) -> None:
    parsed = parse(b"--AaB03x\r\nContent-Disposition: form-data; name=file\r\n\r\n", [])

    with pytest.raises(MalformedMultipart):
        parsed.feed((f"\r\n--{BOUNDARY}".encode() + tail) * (DELIMITERS + 1))


def filename(sent: str) -> str | None:
    (part,) = parse(form([b"x"], filename=sent), []).finish()
    return part.filename


def test_a_file_name_keeps_no_folders_and_no_control_characters() -> None:
    assert filename("/etc/cat\x07.png") == "cat.png"
    assert filename("..\\..\\cat.png") == "cat.png"
    assert filename("C:\\photos\\cat.png") == "cat.png"
    assert filename("\u202ecat.png") == "cat.png"


def test_a_file_name_of_nothing_is_none() -> None:
    assert filename("") is None
    assert filename("photos/") is None


def test_a_long_file_name_is_cut() -> None:
    assert filename("x" * 1000) == "x" * FILENAME_CHARACTERS


def test_a_file_name_that_is_no_utf8_is_still_a_name() -> None:
    body = form([b"x"]).replace(b"a.png", b"caf\xe9.png")

    (part,) = parse(body, []).finish()

    assert part.filename == "caf\N{REPLACEMENT CHARACTER}.png"
