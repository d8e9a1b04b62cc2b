"""The gateway on real sockets, and as a process that gets signals."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from service.config.settings import Settings
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.metrics.test_definitions import samples, value

pytestmark = pytest.mark.anyio

LIMIT = 300_000


async def exchange(client: httpx.AsyncClient, request: bytes, body: bytes = b"") -> bytes:
    """Send everything before reading, and return all that the server sends until it closes."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        writer.write(request)
        for start in range(0, len(body), 65_536):
            writer.write(body[start : start + 65_536])
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def head(*lines: str, target: str = "/v1/classify") -> bytes:
    return "\r\n".join([f"POST {target} HTTP/1.1", "Host: gateway", *lines, "", ""]).encode()


async def test_a_chunked_upload_is_answered(listening: Running) -> None:
    async def body() -> AsyncIterator[bytes]:
        content = image_bytes()
        for start in range(0, len(content), 100):
            yield content[start : start + 100]

    async with listening() as client:
        response = await client.post("/v1/classify", content=body())

    assert response.status_code == 200


@pytest.mark.parametrize("declared", [True, False], ids=["content-length", "chunked"])
async def test_a_client_that_sends_all_before_it_reads_gets_its_refusal(declared: bool, listening: Running) -> None:  # noqa: FBT001
    content = b"\x89" * (10 * LIMIT)
    if declared:
        request, body = head(f"Content-Length: {len(content)}"), content
    else:
        request = head("Transfer-Encoding: chunked")
        body = b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n"

    async with listening(max_upload_bytes=LIMIT) as client:
        answer = await exchange(client, request, body)

    status, _, rest = answer.partition(b"\r\n")
    assert status == b"HTTP/1.1 413 Content Too Large" or status.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in rest.lower()
    assert b'"code":"body_too_large"' in rest


async def test_a_client_that_asks_first_is_refused_before_it_sends(listening: Running) -> None:
    async with listening(max_upload_bytes=LIMIT) as client:
        answer = await exchange(client, head(f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"))

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


async def test_a_client_that_asks_first_is_told_to_go_on(listening: Running) -> None:
    content = image_bytes()
    async with listening() as client:
        request = head(f"Content-Length: {len(content)}", "Expect: 100-continue", "Connection: close")
        answer = await exchange(client, request, content)

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_a_slow_upload_is_a_408_while_others_are_answered(listening: Running) -> None:
    async with listening(upload_timeout_s=0.5) as client:
        slow = asyncio.create_task(exchange(client, head("Content-Length: 1000") + b"\x89"))
        others = [await client.post("/v1/classify", content=image_bytes(seed)) for seed in range(3)]
        answer = await slow

    assert [other.status_code for other in others] == [200] * 3
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"upload_timeout"' in answer


async def test_a_connection_is_kept_over_answers_and_problems(listening: Running) -> None:
    async with listening() as client:
        answers = [
            await client.post("/v1/classify", content=image_bytes()),
            await client.post("/v1/classify", content=b"no picture"),
            await client.get("/nowhere"),
            await client.get("/readyz"),
        ]
        connections = client._transport._pool.connections  # type: ignore[attr-defined]

        assert [answer.status_code for answer in answers] == [200, 415, 404, 200]
        assert ["connection" in answer.headers for answer in answers] == [False] * 4
        assert len(connections) == 1


async def test_head_is_answered_without_a_body(listening: Running) -> None:
    async with listening() as client:
        response = await client.head("/problems")
        again = await client.get("/problems")

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len(again.content))


async def test_a_client_that_leaves_frees_its_place(listening: Running, fake: FakeTorchServe) -> None:
    fake.next.append("slow")
    async with listening() as client:
        held = asyncio.create_task(client.post("/v1/classify", content=image_bytes()))
        await until(lambda: fake.images_for("tiny-classifier") == 1)
        held.cancel()
        await asyncio.wait({held})

        async def counted() -> bool:
            line = 'resnest_http_requests_total{method="POST",route="/v1/classify",status="499"} 1.0'
            return line in (await client.get("/metrics")).text

        await until(counted)
        text = (await client.get("/metrics")).text

    assert 'resnest_inference_in_flight{model="tiny-classifier"} 0.0' in text
    assert 'resnest_http_requests_in_flight{route="/v1/classify"} 0.0' in text


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n"])
async def test_garbage_on_the_socket_harms_nobody(garbage: bytes, listening: Running) -> None:
    async with listening() as client:
        await exchange(client, garbage)

        assert (await client.post("/v1/classify", content=image_bytes())).status_code == 200


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def process(settings: Settings, **environment: str) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """Run `python -m service.gateway` until it is ready, and yield the process and a client."""
    port = free_port()
    variables = {
        "RESNEST_MODEL_STORE": str(settings.model_store),
        "RESNEST_INFERENCE_URL": settings.inference_url,
        "RESNEST_MANAGEMENT_URL": settings.management_url,
        "RESNEST_PORT": str(port),
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.gateway", env={**os.environ, **variables, **environment}, stderr=PIPE
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            await ready(running, client)
            yield running, client
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def ready(running: Process, client: httpx.AsyncClient) -> None:
    async def is_ready() -> bool:
        assert running.returncode is None
        with suppress(httpx.TransportError):
            return (await client.get("/readyz")).status_code == 200
        return False

    await until(is_ready, 60)


async def refuses(client: httpx.AsyncClient) -> bool:
    """Return whether connections are refused."""
    try:
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def in_flight(client: httpx.AsyncClient, images: int) -> bool:
    return value(await samples(client), "resnest_inference_in_flight", model="tiny-classifier") == images


async def drains(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 503


async def test_a_request_in_flight_at_the_end_is_answered(settings: Settings, fake: FakeTorchServe) -> None:
    async with process(settings) as (running, client):
        fake.behaviour = "slow"
        held = [asyncio.create_task(client.post("/v1/classify", content=image_bytes(seed))) for seed in range(4)]
        await until(lambda: in_flight(client, 4), 30)

        running.send_signal(signal.SIGTERM)
        await until(lambda: refuses(client))
        fake.release.set()
        answers = await asyncio.gather(*held)
        async with asyncio.timeout(20):
            await running.communicate()

    assert [answer.status_code for answer in answers] == [200] * 4


async def test_it_serves_on_while_it_drains_and_says_so(settings: Settings, fake: FakeTorchServe) -> None:
    async with process(settings, RESNEST_DRAIN_S="2") as (running, client):
        running.send_signal(signal.SIGTERM)
        await until(lambda: drains(client), 2)
        state = await client.get("/readyz")
        answer = await client.post("/v1/classify", content=image_bytes())
        async with asyncio.timeout(20):
            await running.communicate()

    assert state.json()["code"] == "draining"
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


async def test_a_second_signal_ends_the_draining(settings: Settings, fake: FakeTorchServe) -> None:
    async with process(settings, RESNEST_DRAIN_S="600") as (running, client):
        running.send_signal(signal.SIGTERM)
        await until(lambda: drains(client))
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await running.communicate()

    assert running.returncode == -signal.SIGTERM


async def test_a_restart_under_load_loses_no_request(settings: Settings, fake: FakeTorchServe) -> None:
    """Clients that keep connections and leave during the drain get only successful responses.

    A second signal ends the drain after they have left. With a time limit instead, a busy machine could close the
    server before they leave.
    """
    async with process(settings, RESNEST_DRAIN_S="600") as (running, client):
        answers: list[int] = []
        stop = asyncio.Event()

        async def load(seed: int) -> None:
            while not stop.is_set():
                answers.append((await client.post("/v1/classify", content=image_bytes(seed))).status_code)

        loads = [asyncio.create_task(load(seed)) for seed in range(4)]
        await until(lambda: len(answers) > 20, 60)
        running.send_signal(signal.SIGTERM)
        await until(lambda: drains(client), 60)
        before = len(answers)
        await until(lambda: len(answers) > before + 20, 60)
        stop.set()
        await asyncio.gather(*loads)
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await running.communicate()

    assert set(answers) == {200}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"RESNEST_MODEL_STORE": "/nowhere"}, b"/nowhere has no models"),
        ({"RESNEST_HOST": "0.0.0.0"}, b"will not listen on 0.0.0.0 without authentication"),
        ({"RESNEST_KEYS_FILE": "/nowhere/keys"}, b"/nowhere/keys: No such file"),
        ({"RESNEST_KEYS": "web classify s3cret"}, b"line 1: the digest must be"),
    ],
)
async def test_what_it_cannot_serve_by_ends_it_with_one_sentence(
    environment: dict[str, str], expected: bytes, settings: Settings
) -> None:
    variables = {**os.environ, "RESNEST_MODEL_STORE": str(settings.model_store), **environment}
    running = await asyncio.create_subprocess_exec(sys.executable, "-m", "service.gateway", env=variables, stderr=PIPE)
    _, said = await asyncio.wait_for(running.communicate(), 60)

    assert running.returncode == 1
    assert expected in said
    assert b"s3cret" not in said
    assert said.count(b"\n") == 1
