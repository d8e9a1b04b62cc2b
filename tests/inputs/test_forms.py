"""Forms as people's programs really write them: no image is lost, and a form that is not read says why."""

import base64
import json

import httpx
import pytest

from service.gateway.uploads.multipart import PREAMBLE_BYTES, MultipartForm
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

PICTURE = image_bytes()
HEAD = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


def form(begin: bytes, blanks: bytes, end: bytes) -> bytes:
    """Return a form of two images, with `blanks` behind each delimiter, between `begin` and `end`."""
    delimiter = b"--B" + blanks + b"\r\n"
    return begin + delimiter + HEAD + PICTURE + b"\r\n" + delimiter + HEAD + PICTURE + b"\r\n--B--" + end


READ = {
    "plain": form(b"", b"", b"\r\n"),
    "no line end behind the last boundary": form(b"", b"", b""),
    "a blank behind each boundary (RFC 2046's transport padding)": form(b"", b" ", b"\r\n"),
    "tabs and blanks behind each boundary": form(b"", b" \t ", b" \r\n"),
    "an empty line first": form(b"\r\n", b"", b"\r\n"),
    "a preamble of text": form(b"This is a multi-part message in MIME format.\r\n", b"", b"\r\n"),
    "a preamble and blanks": form(b"two\r\nlines\r\n", b" ", b"\r\n"),
    "an epilogue": form(b"", b"", b"\r\nThat is all.\r\n"),
}


@pytest.mark.parametrize("case", READ)
async def test_what_rfc_2046_allows_around_the_parts_changes_nothing(client: httpx.AsyncClient, case: str) -> None:
    response = await client.post(
        "/v1/classify", content=READ[case], headers={"Content-Type": "multipart/form-data; boundary=B"}
    )
    assert (response.status_code, len(response.json().get("results", []))) == (200, 2), response.text


@pytest.mark.parametrize("case", READ)
def test_the_chunks_may_be_cut_anywhere(case: str) -> None:
    for size in (1, 2, 3, 7):
        parsed = MultipartForm("multipart/form-data; boundary=B", max_images=2)
        for start in range(0, len(READ[case]), size):
            parsed.feed(READ[case][start : start + size])
        assert [bytes(part.content) for part in parsed.finish()] == [PICTURE, PICTURE]


REFUSED = {
    "lines that end with LF alone": (READ["plain"].replace(b"\r\n", b"\n"), "need CR LF"),
    "another boundary than is named": (READ["plain"].replace(b"--B", b"--C") * 9, "does not begin with the boundary"),
    "a preamble without an end": (b"x" * (PREAMBLE_BYTES + 1), "does not begin with the boundary"),
    "a preamble with the boundary in it": (b"garbage" + READ["plain"], "does not begin with the boundary"),
    "a part in base64": (
        b"--B\r\nContent-Transfer-Encoding: base64\r\n" + HEAD + base64.b64encode(PICTURE) + b"\r\n--B--\r\n",
        "Content-Transfer-Encoding",
    ),
    "a part in quoted-printable": (
        b"--B\r\ncontent-transfer-encoding: Quoted-Printable\r\n" + HEAD + PICTURE + b"\r\n--B--\r\n",
        "Content-Transfer-Encoding",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_form_that_is_not_read_says_why(client: httpx.AsyncClient, case: str) -> None:
    content, words = REFUSED[case]
    response = await client.post(
        "/v1/classify", content=content, headers={"Content-Type": "multipart/form-data; boundary=B"}
    )
    body = response.json()
    assert (response.status_code, body["code"]) == (400, "malformed_multipart")
    assert words in body["detail"]


@pytest.mark.parametrize("other", ["file2", "images[]", "photo"])
async def test_no_file_of_a_form_is_lost_without_a_word(client: httpx.AsyncClient, other: str) -> None:
    response = await client.post("/v1/classify", files=[("file", PICTURE), (other, ("b.png", PICTURE))])
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert f"There is also a file in the field '{other}'." in response.json()["detail"]
    assert "file or image" in response.json()["detail"]


@pytest.mark.parametrize("name", ["topk", "Top-K", "Model", "language", "confidence", "max_detections"])
async def test_a_field_that_means_a_parameter_is_refused_with_the_right_name_and_place(
    client: httpx.AsyncClient, name: str
) -> None:
    response = await client.post("/v1/classify", files={"file": PICTURE}, data={name: "1"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    (error,) = response.json()["errors"]
    assert error["parameter"] == name
    assert "This route has model, top_k, lang, min_score, unknown. The body holds only images" in error["detail"]


async def test_other_fields_are_ignored_and_that_is_said(client: httpx.AsyncClient) -> None:
    """Uppy sends `name` and `type`, frameworks send tokens against forgery."""
    fields = {"name": "a.png", "type": "image/png", "csrf_token": "x"}
    response = await client.post("/v1/classify", files=[("file", PICTURE), ("file", PICTURE)], data=fields)
    assert [each["warnings"] for each in response.json()["results"]] == [["form_fields_ignored"]] * 2


async def test_json_about_a_file_under_its_own_name_is_no_image(client: httpx.AsyncClient) -> None:
    """As FilePond sends it (pqina/filepond#270)."""
    files = [("file", (None, b"{}")), ("file", ("a.png", PICTURE))]
    response = await client.post("/v1/classify", files=files)
    (result,) = response.json()["results"]
    assert (result["filename"], result["warnings"]) == ("a.png", ["form_fields_ignored"])
    alone = await client.post("/v1/classify", files=files[:1])
    assert (alone.status_code, alone.json()["code"]) == (415, "unsupported_media_type")


async def test_of_two_contents_in_one_member_of_json_none_is_lost(client: httpx.AsyncClient) -> None:
    content = base64.b64encode(PICTURE).decode()
    body = json.dumps({"images": [{"content": content, "twice": content}]}).replace("twice", "content")
    response = await client.post("/v1/classify", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")
    assert "more than once" in response.json()["detail"]
