"""The text at `/`: its command works as it stands, and it names no address that a proxy may have changed."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from service.config import api_keys
from service.gateway.playground.text_page import address_of, text_page
from tests.gateway.conftest import Running
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio


async def output_of(command: str, folder: Path, **environment: str) -> str:
    """Return what a command line prints in that folder, without a proxy."""
    process = await asyncio.create_subprocess_shell(
        command, cwd=folder, env={"PATH": "/usr/bin:/bin", **environment}, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    return output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("needs_key", [False, True])
async def test_the_command_that_curl_gets_works_as_it_stands(
    needs_key: bool,  # noqa: FBT001 - a parameter
    listening: Running,
    tmp_path: Path,
) -> None:
    secret = api_keys.new_secret()
    key = api_keys.Key("tests", frozenset({"classify"}), api_keys.digest(secret))
    (tmp_path / "photo.jpg").write_bytes(image_bytes(kind="JPEG"))
    async with listening(**({"keys": key.line()} if needs_key else {})) as client:
        text = await output_of(f"curl --silent {client.base_url}", tmp_path)
        (command,) = [line.partition(": ")[2].strip() for line in text.splitlines() if "curl" in line]
        answer = json.loads(await output_of(command, tmp_path, KEY=secret))

    assert answer["results"][0]["predictions"]
    assert ("KEY is your API key." in text) is needs_key
    assert f"{client.base_url}/docs\n" in text
    assert f"{client.base_url}/ in a browser" in text


def request(scheme: str = "http", **headers: str) -> Request:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "scheme": scheme, "path": "/", "query_string": b"", "headers": lines})


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "vision.example", "[::1]:8000"])
def test_the_address_is_the_one_that_the_client_used(host: str) -> None:
    assert address_of(request(host=host)) == f"http://{host}"


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a:x", "<b>", "user@host", "a\r\nb"])
def test_a_host_that_is_none_is_not_repeated(host: str) -> None:
    assert address_of(request(host=host)) is None


@pytest.mark.parametrize("header", ["x_forwarded_for", "x_forwarded_host", "forwarded", "via", "x_real_ip"])
def test_behind_a_proxy_the_address_is_unknown(header: str) -> None:
    assert address_of(request(host="vision.example", **{header: "a"})) is None


FACTS: dict[str, Any] = {"cards": (), "has_playground": True, "needs_key": False}


def test_without_an_address_the_text_says_what_stands_for_it() -> None:
    text = text_page(None, **FACTS)

    assert "curl -F file=@photo.jpg URL/v1/classify\n" in text
    assert text.endswith("URL is the address of this text.\n")


def test_without_the_playground_no_page_is_named() -> None:
    assert "in a browser" in text_page("http://a", **FACTS)
    assert "in a browser" not in text_page("http://a", **FACTS | {"has_playground": False})


async def test_the_request_is_one_that_the_served_models_answer(running: Running) -> None:
    async with running(models=("tiny-segmenter",)) as client:
        text = (await client.get("/")).text

    assert "http://gateway/v1/segment" in text


async def test_head_has_the_headers_of_the_text(client: httpx.AsyncClient) -> None:
    head, text = await client.head("/"), await client.get("/")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == text.headers["content-length"]
