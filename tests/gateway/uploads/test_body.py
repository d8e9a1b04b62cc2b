"""Bodies of every shape: what is read from them, and what is rejected."""

import re

import httpx
import pytest

from service.gateway.uploads.multipart import HEADERS, OTHER_PARTS
from service.tasks.shapes import Problem
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes, json_body

pytestmark = pytest.mark.anyio

BOUNDARY = "b0undary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
JSON = {"Content-Type": "application/json"}

PICTURE = image_bytes(1)


def part(name: str = "file", *, content: bytes = PICTURE, headers: bytes = b"") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="a.png"'.encode()
    return b"--" + BOUNDARY.encode() + b"\r\n" + disposition + b"\r\n" + headers + b"\r\n" + content + b"\r\n"


END = b"--" + BOUNDARY.encode() + b"--\r\n"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"", {}, 400, "empty_body"),
        (b"", {"Content-Type": "image/png"}, 400, "empty_body"),
        (b"", JSON, 400, "empty_body"),
        (b"", FORM, 400, "malformed_multipart"),
        (END, FORM, 400, "empty_body"),
        (part(content=b"") + END, FORM, 400, "empty_body"),
        (part("other") + END, FORM, 400, "empty_body"),
        (part(), FORM, 400, "malformed_multipart"),
        (part()[:-30], FORM, 400, "malformed_multipart"),
        (b"garbage" + part() + END, FORM, 400, "malformed_multipart"),
        (part(headers=b"no colon\r\n") + END, FORM, 400, "malformed_multipart"),
        (part(headers=b"X: y\r\n" * HEADERS) + END, FORM, 400, "malformed_multipart"),
        (part(headers=b"X: " + b"y" * 5000 + b"\r\n") + END, FORM, 400, "malformed_multipart"),
        (part("other") * (OTHER_PARTS + 1) + END, FORM, 400, "malformed_multipart"),
        (part() + END, {"Content-Type": "multipart/form-data"}, 400, "malformed_multipart"),
        (part() + END, {"Content-Type": f"multipart/form-data; boundary={'b' * 300}"}, 400, "malformed_multipart"),
        (b"{", JSON, 400, "malformed_json"),
        (b"[]", JSON, 400, "malformed_json"),
        (b"null", JSON, 400, "malformed_json"),
        (b"{}", JSON, 400, "malformed_json"),
        (b"\xff\xfe", JSON, 400, "malformed_json"),
        (b'{"images": {}}', JSON, 400, "malformed_json"),
        (b'{"images": [{}]}', JSON, 400, "malformed_json"),
        (b'{"images": [{"content": 3}]}', JSON, 400, "malformed_json"),
        (b'{"images": [{"content": null}]}', JSON, 400, "malformed_json"),
        (b'{"images": [{"url": "http://example.org/a.png"}]}', JSON, 400, "malformed_json"),
        (b'{"images": [{"content": "AA==", "url": "x"}]}', JSON, 400, "malformed_json"),
        (b'{"images": [{"content": "AA=="}], "other": 3}', JSON, 400, "malformed_json"),
        (b"[" * 100_000, JSON, 400, "malformed_json"),
        (b'{"images": [' + b"1," * 100_000 + b"1]}", JSON, 400, "malformed_json"),
        (b'{"images": []}', JSON, 400, "empty_body"),
        (b'{"images": [{"content": ""}]}', JSON, 400, "empty_body"),
        (b"file=@cat.png", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (PICTURE, {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (PICTURE, {"Content-Type": "video/mp4"}, 415, "unsupported_media_type"),
        (PICTURE, {"Content-Type": ";;;"}, 415, "unsupported_media_type"),
        (PICTURE, {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        (b"<svg/>", {"Content-Type": "image/svg+xml"}, 415, "unsupported_media_type"),
    ],
)
async def test_a_body_that_cannot_be_read_says_why(
    content: bytes, headers: dict[str, str], status: int, code: str, client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    response = await client.post("/v1/classify", content=content, headers=headers)

    Problem.model_validate(response.json())
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert fake.images_for("tiny-classifier") == 0


@pytest.mark.parametrize(
    "content",
    [
        "A",
        "AA=",
        "AA AAAA=",
        "AAAA=",
        "AA==AA==",
        "AA*=",
        "ÄÄÄÄ",
        "data:image/png,AAAA",
        "data:image/png;base64",
        "data:;base64,A",
        "http://example.org/a.png",
    ],
)
async def test_what_is_not_base64_is_refused(content: str, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", json={"images": [{"content": content}]})

    assert (response.status_code, response.json()["code"]) == (400, "invalid_base64")


async def test_one_content_that_is_not_base64_fails_alone(client: httpx.AsyncClient) -> None:
    body = json_body(PICTURE, PICTURE, PICTURE)
    body["images"][1]["content"] = "*"

    response = await client.post("/v1/classify", json=body)

    codes = [row.get("error", {}).get("code") for row in response.json()["results"]]
    assert (response.status_code, codes) == (200, [None, "invalid_base64", None])


@pytest.mark.parametrize("prefix", ["data:image/png;base64,", "data:;base64,", "data:image/png;charset=x;base64,"])
async def test_a_data_uri_is_read(prefix: str, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", json=json_body(PICTURE, prefix=prefix))

    assert response.status_code == 200


async def test_an_unsupported_type_is_told_what_is_accepted(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", content=PICTURE, headers={"Content-Type": "text/plain"})

    accepted = response.json()["accepted"]
    assert {"image/jpeg", "image/webp", "multipart/form-data", "application/json"} <= set(accepted)
    assert response.headers["accept-post"] == ", ".join(accepted)


async def test_nothing_of_a_body_is_told_back(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    private = "pr1v4te-0123456789"
    answers = [
        await client.post("/v1/classify", content=f'{{"images": [{{"{private}": 1}}]}}'.encode(), headers=JSON),
        await client.post("/v1/classify", content=f'{{"images": "{private}"}}'.encode(), headers=JSON),
        await client.post("/v1/classify", content=f'{{"images": [{private}'.encode(), headers=JSON),
        await client.post("/v1/classify", json={"images": [{"content": private}]}),
        await client.post("/v1/classify", content=private.encode()),
        await client.post("/v1/classify", content=private.encode(), headers=FORM),
        await client.post("/v1/classify", content=part(f"{private} of Ann") + END, headers=FORM),
        await client.post("/v1/classify", content=part("img", content=private.encode()) + END, headers=FORM),
        await client.post("/v1/classify", files={"file": (None, private)}),
        await client.post("/v1/classify", content=PICTURE, headers={"Content-Type": f"text/{private}"}),
    ]

    assert all(400 <= answer.status_code < 500 for answer in answers)
    assert [answer.text for answer in answers if private in answer.text or private in str(answer.headers)] == []
    assert re.findall(private, caplog.text) == []


async def test_fields_besides_the_pictures_are_read_past(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", files={"file": PICTURE}, data={"comment": "x" * 5000, "token": "y"})

    assert (response.status_code, len(response.json()["results"])) == (200, 1)
