"""Bodies chunk by chunk. `tests/gateway/uploads/test_body.py` sends them over HTTP."""

import base64
import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service.errors import (
    EmptyBody,
    InvalidBase64,
    MalformedJson,
    MalformedMultipart,
    ServiceError,
    UnsupportedMediaType,
)
from service.gateway.uploads.parsers.image_bodies import (
    SNIFFED_BYTES,
    JsonBody,
    Upload,
    UrlencodedBody,
    parser_of,
)
from service.tasks.shapes import ImagesBody
from tests.gateway.fixtures.images import image_bytes, json_body
from tests.odd_images import written

PICTURE = image_bytes(1)
URLENCODED = Headers({"Content-Type": "application/x-www-form-urlencoded"})


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,imagesct0Aé\\\\=', max_size=200).map(str.encode))
def test_any_bytes_are_json_pictures_or_a_problem(text: bytes) -> None:
    body = JsonBody(max_images=4)
    body.feed(text)

    with suppress(ServiceError):
        assert body.finish()


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=4))
def test_base64_is_read_back_exactly(contents: list[bytes]) -> None:
    body = JsonBody(max_images=4)
    body.feed(ImagesBody.model_validate(json_body(*contents)).model_dump_json().encode())

    assert [upload.content for upload in body.finish()] == contents


@pytest.mark.parametrize("size", [1, 100, SNIFFED_BYTES, 10**6])
def test_an_image_that_curl_calls_a_form_is_read(size: int) -> None:
    body = parser_of(URLENCODED, max_images=1)
    for start in range(0, len(PICTURE), size):
        body.feed(PICTURE[start : start + size])

    assert [upload.content for upload in body.finish()] == [PICTURE]


def test_a_real_form_is_refused_before_all_of_it_is_there() -> None:
    body = UrlencodedBody()
    with pytest.raises(UnsupportedMediaType, match="-F file=@photo"):
        body.feed(b"file=%89PNG" * 100)


def as_text(data: bytes) -> bytes:
    """Return the bytes as curl 7.88 sends them for `-d @photo.jpg`: of each line what is before its first zero."""
    return b"".join(line.partition(b"\0")[0] for line in re.split(rb"[\r\n]", data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_that_curl_has_changed_is_refused_with_the_option_that_does_not(kind: str) -> None:
    body = UrlencodedBody()
    body.feed(as_text(written(kind))[: SNIFFED_BYTES - 1])
    with pytest.raises(UnsupportedMediaType, match="curl -d removes them"):
        body.finish()


def read(content_type: str, data: bytes) -> list[Upload]:
    body = parser_of(Headers({"Content-Type": content_type}), max_images=1)
    body.feed(data)
    return body.finish()


@pytest.mark.parametrize("declared", ["application/x-www-form-urlencoded", "text/plain"])
def test_a_type_that_a_client_chose_by_itself_is_named(declared: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"The Content-Type {declared} is not accepted"):
        read(f"{declared};charset=UTF-8", b"photo=1")


@pytest.mark.parametrize("declared", ["application/octet-stream", "image/png", "application/x-www-form-urlencoded"])
def test_a_request_without_a_body_is_told_so_and_how_to_send_one(declared: str) -> None:
    (found,) = read(declared, b"")

    assert isinstance(found.content, EmptyBody)
    assert found.content.detail.startswith("The request has no body. ")
    assert "--data-binary @photo.jpg" in found.content.detail


def test_text_is_told_how_base64_is_sent() -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        parser_of(Headers({"Content-Type": "text/plain"}), max_images=1)

    told = re.search(r"Base64 belongs into JSON: (.*)\.$", refused.value.detail)
    assert told
    shown = told[1].replace("<base64>", base64.b64encode(PICTURE).decode())
    assert [upload.content for upload in read("application/json", shown.encode())] == [PICTURE]


def test_an_image_that_is_declared_as_json_is_told_so() -> None:
    body = JsonBody(max_images=1)
    body.feed(PICTURE)
    with pytest.raises(MalformedJson, match="is an image, not JSON"):
        body.finish()


FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + PICTURE + b"\r\n--x--\r\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (FORM, "The body is a form, not JSON. Leave the Content-Type out"),
        (b"\x00\x01{[,{[," * 200, "UTF-16"),
        (b"\x8f{[,{[," * 200, "It is not JSON"),
        (b'{"images": [{"content": [255, 216, 255, 224]}]}', "not documented. Send `{"),
        (b'{"images": []}', "The list of images is empty. Send `{"),
        (b"", "The request has no body. Send `{"),
    ],
)
def test_what_is_no_json_or_has_no_image_is_told_what_to_send(data: bytes, words: str) -> None:
    with pytest.raises(ServiceError) as refused:
        read("application/json", data)

    assert words in refused.value.detail


def test_an_object_of_javascript_as_text_is_the_problem_of_one_image() -> None:
    document = {"images": [{"content": "[object Promise]"}, {"content": base64.b64encode(PICTURE).decode()}]}
    body = JsonBody(max_images=2)
    body.feed(json.dumps(document).encode())

    first, second = body.finish()

    assert isinstance(first.content, InvalidBase64)
    assert second.content == PICTURE


def test_a_form_without_a_boundary_is_told_who_writes_it() -> None:
    with pytest.raises(MalformedMultipart, match="Leave it out: your HTTP library writes it"):
        read("multipart/form-data", FORM)
