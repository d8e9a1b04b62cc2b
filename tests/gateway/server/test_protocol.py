"""Headers that arrive slowly or never end, and how uvicorn's own protocol reads a request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import orjson
import pytest

from service.gateway.server.protocol import MAX_FRAMING
from service.tasks.shapes import Problem
from tests.gateway.conftest import Running
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

DEFAULT_HEADER_TIMEOUT_S = 10  # A shorter wait shows that the setting counts, also on a loaded machine.


async def closed_after(port: int, *sent: bytes) -> float:
    """Return the seconds until the server closes the connection to a client that sends a piece every 0.1 s."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        with suppress(ConnectionError):
            for piece in sent:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.1)

    sending = asyncio.create_task(send())
    async with asyncio.timeout(60):
        while await reader.read(65_536):
            pass
    took = loop.time() - started
    sending.cancel()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return took


@pytest.mark.parametrize(
    "sent",
    [
        (),
        (b"POST /v1/classify HT",),
        (b"POST /v1/classify HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 40),
    ],
    ids=["nothing", "half a line", "a header a tenth of a second"],
)
async def test_a_connection_without_whole_headers_is_closed_in_time(sent: tuple[bytes], listening: Running) -> None:
    async with listening(header_timeout_s=0.5) as client:
        took = await closed_after(client.base_url.port or 0, *sent)

        assert 0.4 <= took < DEFAULT_HEADER_TIMEOUT_S
        assert (await client.get("/livez")).status_code == 200


async def test_who_began_a_request_is_told_that_it_took_too_long_and_who_did_not_is_told_nothing(
    listening: Running,
) -> None:
    async with listening(header_timeout_s=0.5) as client:
        begun, silent = await asyncio.gather(
            answer_to(client.base_url.port, b"POST /v1/classify HT"), answer_to(client.base_url.port)
        )

    assert problem_of(begun)["code"] == "upload_timeout"
    assert silent == b""


async def test_what_no_application_sees_is_counted(listening: Running) -> None:
    async with listening(header_timeout_s=0.5) as client:
        for sent in (b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * (MAX_FRAMING + 1), b"GET"):
            await answer_to(client.base_url.port, sent)
        text = (await client.get("/metrics")).text

    for status, code in ((400, "malformed_request"), (431, "headers_too_large"), (408, "upload_timeout")):
        assert f'resnest_problems_total{{code="{code}"}} 1.0' in text
        assert f'resnest_http_requests_total{{method="other",route="unparsed",status="{status}"}} 1.0' in text


async def test_a_second_request_on_a_connection_has_the_same_time(listening: Running) -> None:
    async with listening(header_timeout_s=0.5) as client:
        took = await closed_after(
            client.base_url.port or 0, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /livez HTTP/1.1\r\n"
        )

    assert 0.5 <= took < DEFAULT_HEADER_TIMEOUT_S


async def test_half_a_request_behind_one_that_is_being_answered_does_not_cut_its_answer(
    listening: Running, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    content = image_bytes()
    head = f"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    async with listening(header_timeout_s=0.2) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(head + content + b"GET /livez HTT")
        await asyncio.sleep(0.5)
        fake.release.set()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_an_idle_connection_and_a_long_body_are_not_closed_by_it(listening: Running) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        content = image_bytes()
        for start in range(0, len(content), len(content) // 6):
            yield content[start : start + len(content) // 6]
            await asyncio.sleep(0.1)

    async with listening(header_timeout_s=0.2) as client:
        first = await client.post("/v1/classify", content=slowly())
        await asyncio.sleep(0.4)
        second = await client.get("/livez")

        assert (first.status_code, second.status_code) == (200, 200)
        assert len(client._transport._pool.connections) == 1  # type: ignore[attr-defined]


async def answer_to(port: int | None, *sent: bytes) -> bytes:
    """Send the pieces separately, and return everything that the server sends until it closes or is silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with suppress(ConnectionError, TimeoutError):
        for piece in sent:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            while piece := await reader.read(65_536):
                received += piece
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return received


def problem_of(answer: bytes) -> dict[str, Any]:
    """Check a whole response and return its problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    problem: dict[str, Any] = orjson.loads(body)
    Problem.model_validate(problem)
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert f"x-request-id: {problem['request_id']}".encode() in head
    assert head.startswith(f"HTTP/1.1 {problem['status']} ".encode())
    return problem


POST = b"POST /v1/classify HTTP/1.1\r\nHost: a\r\n"
CLOSE = b"Connection: close\r\n"
LONG = b"a" * 4 * MAX_FRAMING


@pytest.mark.parametrize(
    "sent",
    [
        (b"GET /livez HTTP/1.1\r\nX-A: " + LONG,),
        (b"GET /" + LONG + b" HTTP/1.1\r\n\r\n",),
        (b"GET /livez HTTP/1.1\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",),
        (POST, *[b"X: " + b"a" * 20_000 + b"\r\n"] * 4),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3;" + LONG,),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-A: " + LONG,),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * MAX_FRAMING,),
    ],
    ids=[
        "a long header",
        "a long path",
        "many headers",
        "in pieces",
        "a chunk's extension",
        "a trailer",
        "tiny chunks",
    ],
)
async def test_a_request_of_more_framing_than_allowed_is_refused(sent: tuple[bytes], listening: Running) -> None:
    async with listening() as client:
        problem = problem_of(await answer_to(client.base_url.port, *sent))

    assert (problem["code"], problem["limit"]) == ("headers_too_large", MAX_FRAMING)


@pytest.mark.parametrize(
    "sent",
    [b"no HTTP\r\n\r\n", POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ids=["nonsense", "two lengths"],
)
async def test_what_is_no_request_gets_a_problem(sent: bytes, listening: Running) -> None:
    async with listening() as client:
        problem = problem_of(await answer_to(client.base_url.port, sent))

    assert problem["code"] == "malformed_request"


async def test_a_large_upload_in_small_chunks_and_one_behind_it_are_within_the_framing(listening: Running) -> None:
    content = image_bytes() + b"\0" * 2 * MAX_FRAMING
    chunks = b"".join(b"8\r\n" + content[start : start + 8] + b"\r\n" for start in range(0, len(content) // 8 * 8, 8))
    upload = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    async with listening() as client:
        answer = await answer_to(
            client.base_url.port, upload + upload + b"GET /livez HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n"
        )

    assert answer.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "headers first"])
async def test_a_client_that_offers_another_protocol_is_answered_in_this_one(apart: bool, listening: Running) -> None:  # noqa: FBT001
    content = image_bytes()
    head = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(content)
    async with listening(keep_alive_s=1) as client:
        answer = await answer_to(client.base_url.port, *([head, content] if apart else [head + content]))

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"predictions"' in answer


async def test_a_body_is_never_taken_for_the_next_request(listening: Running) -> None:
    body = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
    rest = b"rade: h2c\r\nConnection: Upgrade\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with listening() as client:
        answer = await answer_to(client.base_url.port, POST + b"Upg", rest, body)

    assert problem_of(answer)["code"] == "malformed_request"


async def test_trailers_are_not_taken_for_headers(listening: Running) -> None:
    content = image_bytes()
    chunks = b"%x\r\n%s\r\n0\r\nX-Request-ID: from-a-trailer\r\nAccept: text/html\r\n\r\n" % (len(content), content)
    async with listening() as client:
        answer = await answer_to(client.base_url.port, POST + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"from-a-trailer" not in answer
