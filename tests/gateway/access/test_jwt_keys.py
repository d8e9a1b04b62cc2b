"""The key set for tokens: its sources and refresh, and a gateway that accepts tokens."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from pydantic import ValidationError

from service.config.api_keys import KeysError, digest
from service.config.settings import Settings
from service.errors import KeysUnavailable
from service.gateway.access.jwt import MAX_BYTES, JwtVerifier
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.fixtures.running_tasks import running_task
from tests.gateway.fixtures.token_issuer import AUDIENCE, ISSUER, OTHER, RSA, SET, TRUST, jwk, signed

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A key set in a file."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(SET), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys": []}',
        b'{"keys": 7}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}',
        json.dumps({"keys": [jwk(RSA, "a", use="enc")]}).encode(),
        b"-----BEGIN PUBLIC KEY-----",
        b"\xff",
    ],
)
def test_a_set_without_a_public_key_for_signatures_is_an_error_at_the_start(content: bytes, file: Path) -> None:
    file.write_bytes(content)

    with pytest.raises(KeysError, match=str(file)):
        JwtVerifier(str(file), TRUST, int)


def test_a_file_that_is_not_there_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="No such file"):
        JwtVerifier(str(tmp_path / "nothing"), TRUST, int)


@asynccontextmanager
async def issuer(answers: list[tuple[int, bytes]]) -> AsyncIterator[str]:
    """Yield the URL of an issuer that returns these answers in order, and then the last one repeatedly."""

    async def respond(_request: web.Request) -> web.Response:
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        headers = {"Location": "/elsewhere"} if status == 302 else {}
        return web.Response(status=status, body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/jwks", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    finally:
        await runner.cleanup()


async def test_keys_are_fetched_and_a_new_one_is_found_and_a_failure_leaves_the_former(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stale: list[int] = []
    first = json.dumps({"keys": [jwk(OTHER, "old")]}).encode()
    second = json.dumps(SET).encode()
    answers = [(503, b""), (200, first), (500, b""), (200, second)]
    async with issuer(answers) as address:
        verifier = JwtVerifier(address, TRUST, stale.append, refresh_s=0.2)
        with pytest.raises(KeysUnavailable):
            verifier.verify(signed())
        async with running_task(verifier.watch()):
            with caplog.at_level(logging.ERROR):
                await until(lambda: stale[:4] == [1, 0, 1, 0], 60)
            assert verifier.verify(signed()) is not None
            assert verifier.verify(signed(OTHER, "old")) is None

    assert "previous ones stay" in caplog.text


async def test_an_unknown_key_is_looked_for_before_the_interval(file: Path) -> None:
    stale: list[int] = []
    verifier = JwtVerifier(str(file), TRUST, stale.append, refresh_s=600.0, min_refresh_s=0.1)
    async with running_task(verifier.watch()):
        await until(lambda: stale == [0], 30)
        await asyncio.to_thread(file.write_text, json.dumps({"keys": [jwk(OTHER, "new")]}), "utf-8")
        assert verifier.verify(signed(OTHER, "new")) is None
        await until(lambda: verifier.verify(signed(OTHER, "new")), 30)


@pytest.mark.parametrize(
    "answer", [(200, b" " * (MAX_BYTES + 1)), (302, b""), (404, b"")], ids=["long", "moved", "gone"]
)
async def test_an_answer_that_is_no_key_set_is_not_taken(answer: tuple[int, bytes]) -> None:
    stale: list[int] = []
    async with issuer([answer]) as address:
        verifier = JwtVerifier(address, TRUST, stale.append)
        async with running_task(verifier.watch()):
            await until(lambda: stale == [1], 30)
            with pytest.raises(KeysUnavailable):
                verifier.verify(signed())


@pytest.mark.parametrize(
    "changes",
    [
        {"jwt_keys": "/jwks"},
        {"jwt_keys": "/jwks", "jwt_issuer": ISSUER},
        {"jwt_keys": "http://login.example/jwks", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE},
        {"jwt_algorithms": "none"},
        {"jwt_algorithms": "HS256"},
        {"jwt_algorithms": ""},
        {"jwt_leeway_s": 3600},
    ],
    ids=str,
)
def test_settings_that_would_take_tokens_too_easily_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**changes)


async def asked(client: httpx.AsyncClient, path: str, token: str) -> httpx.Response:
    return await client.post(path, content=image_bytes(), headers={"Authorization": f"Bearer {token}"})


async def test_a_gateway_takes_tokens_and_keys_and_limits_each_subject(running: Running, file: Path) -> None:
    jwt_settings = {"jwt_keys": str(file), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    keys = f"web classify {digest('s3cret')}\nboss admin {digest('boss')}"
    async with running(**jwt_settings, keys=keys, caller_rate=0.01, caller_burst=1) as client:
        paths = ("/v1/classify", "/v1/segment", "/v1/classify")
        ada = [(await asked(client, path, signed())).status_code for path in paths]
        bob = await asked(client, "/v1/classify", signed(sub="bob"))
        web_ = await asked(client, "/v1/classify", "s3cret")
        nobody = await asked(client, "/v1/classify", signed(OTHER))
        text = (await client.get("/metrics", headers={"X-API-Key": "boss"})).text

    assert ada == [200, 403, 429]
    assert (bob.status_code, web_.status_code, nobody.status_code) == (200, 200, 401)
    assert 'resnest_caller_requests_total{caller="token",outcome="admitted"} 2.0' in text
    assert "ada" not in text


async def test_until_the_keys_were_fetched_tokens_are_unavailable_and_keys_are_good(running: Running) -> None:
    jwt_settings = {"jwt_keys": "https://127.0.0.1:1/jwks", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    async with running(**jwt_settings, keys=f"web classify {digest('s3cret')}") as client:
        token = await asked(client, "/v1/classify", signed())
        key = await asked(client, "/v1/classify", "s3cret")

    assert (token.status_code, token.json()["code"], token.headers["retry-after"]) == (503, "keys_unavailable", "10")
    assert key.status_code == 200
