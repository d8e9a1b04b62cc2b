"""The limits of uploads: a body of exactly the limit is accepted, one more byte is rejected."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.datastructures import Headers

from service.config.settings import MEBIBYTE
from service.errors import BodyTooLarge
from service.gateway.uploads import body
from service.tasks.shapes import Problem
from tests.gateway.conftest import Running, app_of, components_of
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes, json_body
from tests.gateway.uploads.test_body import END, FORM, JSON, PICTURE, part

pytestmark = pytest.mark.anyio


async def chunks(body: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """Yield the body in chunks, which httpx sends chunked and without Content-Length."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


def bodies(limit: int) -> dict[str, tuple[bytes, dict[str, str]]]:
    """Return a body of exactly `limit` bytes with an image, in each shape. The bytes after its end are ignored."""
    form = part() + END
    text = b'{"images": [{"content": "' + base64.b64encode(PICTURE) + b'"}]}'
    return {
        "raw": (PICTURE.ljust(limit, b"\0"), {"Content-Type": "image/png"}),
        "multipart": (form.ljust(limit, b"\0"), FORM),
        "json": (text.ljust(limit, b" "), JSON),
    }


LIMIT = 4000


@pytest.mark.parametrize("shape", ["raw", "multipart", "json"])
@pytest.mark.parametrize("declared", [True, False], ids=["content-length", "chunked"])
async def test_a_body_of_exactly_the_limit_is_answered(shape: str, declared: bool, running: Running) -> None:  # noqa: FBT001
    body, headers = bodies(LIMIT)[shape]

    async with running(max_upload_bytes=LIMIT) as client:
        response = await client.post("/v1/classify", content=body if declared else chunks(body), headers=headers)

    assert response.status_code == 200


@pytest.mark.parametrize("shape", ["raw", "multipart", "json"])
@pytest.mark.parametrize("declared", [True, False], ids=["content-length", "chunked"])
async def test_a_body_of_one_byte_more_is_refused(
    shape: str,
    declared: bool,  # noqa: FBT001
    running: Running,
    fake: FakeTorchServe,
) -> None:
    body, headers = bodies(LIMIT + 1)[shape]

    async with running(max_upload_bytes=LIMIT) as client:
        response = await client.post("/v1/classify", content=body if declared else chunks(body), headers=headers)

    document = response.json()
    Problem.model_validate(document)
    assert (response.status_code, document["code"]) == (413, "body_too_large")
    assert (document["limit"], document["actual"]) == (LIMIT, LIMIT + 1)
    assert response.headers["connection"] == "close"
    assert fake.images_for("tiny-classifier") == 0


@pytest.mark.parametrize(
    ("limit", "told"),
    [(1000, "1000 bytes."), (20 * MEBIBYTE, "20971520 bytes (20 MiB)."), (3 << 19, "1572864 bytes (1.5 MiB).")],
)
def test_a_limit_of_a_mebibyte_or_more_is_told_in_mebibytes_too(limit: int, told: str) -> None:
    with pytest.raises(BodyTooLarge) as refused:
        body.check_length(Headers({"Content-Length": str(limit + 1)}), limit)

    assert refused.value.detail == f"The body has more than the allowed {told}"


async def call(app: Any, headers: dict[str, str], *messages: dict[str, Any]) -> tuple[int, int]:
    """Return the status of a request, and how many messages of its body were read before the response."""
    read, statuses = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return messages[read - 1] if read <= len(messages) else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append((message["status"], read))

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/classify", "query_string": b"", "headers": raw}
    await app(scope, receive, send)
    return statuses[0] if statuses else (0, read)


async def test_a_body_that_declares_itself_too_long_is_not_read(running: Running) -> None:
    async with running(max_upload_bytes=LIMIT) as client:
        headers = {"Content-Length": str(LIMIT + 1), "Content-Type": "image/png"}
        status, read = await call(app_of(client), headers, {"type": "http.request", "body": b"x" * (LIMIT + 1)})

    assert (status, read) == (413, 0)


async def test_a_chunked_body_is_cut_off_at_the_limit_and_not_after(running: Running) -> None:
    async with running(max_upload_bytes=LIMIT) as client:
        chunk = {"type": "http.request", "body": b"x" * 1000, "more_body": True}
        status, read = await call(app_of(client), {"Transfer-Encoding": "chunked"}, *[chunk] * 100)

    assert (status, read) == (413, 5)


async def test_a_client_that_leaves_while_sending_is_told_nothing_and_counted(running: Running) -> None:
    async with running() as client:
        chunk = {"type": "http.request", "body": b"x", "more_body": True}
        status, _ = await call(app_of(client), {"Transfer-Encoding": "chunked"}, chunk)
        text = (await client.get("/metrics")).text

    assert status == 0
    assert 'resnest_http_requests_total{method="POST",route="/v1/classify",status="499"} 1.0' in text


async def test_a_body_that_does_not_arrive_in_time_is_a_408(running: Running, fake: FakeTorchServe) -> None:
    never = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield PICTURE[:100]
        await never.wait()

    async with running(upload_timeout_s=0.1) as client:
        response = await client.post("/v1/classify", content=slowly())

    assert (response.status_code, response.json()["code"]) == (408, "upload_timeout")
    assert fake.images_for("tiny-classifier") == 0


@pytest.mark.parametrize(("rate", "status"), [(10, 200), (100_000, 408)])
async def test_a_body_that_trickles_in_is_given_up_long_before_its_time_is_over(
    rate: int, status: int, running: Running
) -> None:
    async def trickling() -> AsyncIterator[bytes]:
        for start in range(0, 2000, 500):
            yield PICTURE.ljust(2000, b"\0")[start : start + 500]
            await asyncio.sleep(0.4)

    async with running(min_upload_rate=rate, upload_window_s=1) as client:
        response = await client.post("/v1/classify", content=trickling())

    assert response.status_code == status
    if status == 408:
        assert response.json()["code"] == "upload_timeout"
        assert "100000 bytes a second" in response.json()["detail"]


async def test_uploads_that_do_not_fit_into_memory_together_are_refused(running: Running) -> None:
    async with running(max_upload_bytes=LIMIT, max_buffered_bytes=LIMIT) as client:
        components = components_of(app_of(client))
        with components.body_buffer.reserve() as other:
            other.grow(LIMIT - len(PICTURE) + 1)
            refused = await client.post("/v1/classify", content=PICTURE)
        answered = await client.post("/v1/classify", content=PICTURE)

    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "overloaded", "1")
    assert answered.status_code == 200
    assert components.body_buffer.held == 0


async def test_as_many_pictures_as_allowed_are_answered(running: Running) -> None:
    contents = [image_bytes(seed, size=(16, 16)) for seed in range(3)]

    async with running(max_images=3) as client:
        answers = [
            await client.post("/v1/classify", json=json_body(*contents)),
            await client.post("/v1/classify", json=json_body(*contents, prefix="data:image/png;base64,")),
            await client.post("/v1/classify", files=[("file", content) for content in contents]),
        ]

    assert [(answer.status_code, len(answer.json()["results"])) for answer in answers] == [(200, 3)] * 3


async def test_one_picture_more_is_refused(running: Running, fake: FakeTorchServe) -> None:
    contents = [image_bytes(seed, size=(16, 16)) for seed in range(4)]

    async with running(max_images=3) as client:
        answers = [
            await client.post("/v1/classify", json=json_body(*contents)),
            await client.post("/v1/classify", files=[("file", content) for content in contents]),
            await client.post("/v1/classify", files=[("file", contents[0]), *[("image", each) for each in contents]]),
        ]

    for answer in answers:
        document = answer.json()
        assert (answer.status_code, document["code"], document["limit"]) == (413, "too_many_images", 3)
        assert document["actual"] > 3
    assert fake.images_for("tiny-classifier") == 0
