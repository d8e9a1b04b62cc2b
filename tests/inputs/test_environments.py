"""Environments as people really have them: the gateway answers, or is not ready and says why."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from service.config.settings import Settings
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.server.test_uvicorn_server import process

pytestmark = pytest.mark.anyio


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    """A folder with a path of more than 107 bytes, as Slurm, Jenkins and Bazel make for TMPDIR."""
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    folder.mkdir(parents=True)
    return folder


async def test_a_long_tmpdir_does_not_keep_it_from_decoding(
    settings: Settings, fake: FakeTorchServe, long_folder: Path
) -> None:
    async with process(settings, TMPDIR=str(long_folder)) as (_, client):
        assert (await client.post("/v1/classify", content=image_bytes())).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_orderly_stop_leaves_nothing_in_the_temporary_folder(
    settings: Settings, fake: FakeTorchServe, short_folder: Path, number: signal.Signals
) -> None:
    temporary = short_folder / "tmp"
    temporary.mkdir()
    async with process(settings, TMPDIR=str(temporary)) as (running, client):
        assert (await client.post("/v1/classify", content=image_bytes())).status_code == 200
        assert list(temporary.iterdir())
        running.send_signal(number)
        await asyncio.wait_for(running.communicate(), 60)
    assert list(temporary.iterdir()) == []


async def test_a_gateway_that_cannot_decode_is_not_ready_under_its_own_code_and_heals(
    settings: Settings, fake: FakeTorchServe, short_folder: Path
) -> None:
    temporary = short_folder / "tmp"
    temporary.mkdir()
    async with process(settings, TMPDIR=str(temporary), RESNEST_DECODE_PROCESSES="1") as (running, client):

        async def code() -> str:
            return str((await client.get("/readyz")).json().get("code", ""))

        async def is_ready() -> bool:
            return await code() == ""

        async def cannot_decode() -> bool:
            await client.post("/v1/classify", content=image_bytes())
            return await code() == "decoders_unavailable"

        (used,) = temporary.iterdir()
        hidden = used.rename(temporary / "hidden")  # with the socket of the fork server
        for child in psutil.Process(running.pid).children(recursive=True):
            if "resource_tracker" not in " ".join(child.cmdline()):
                child.kill()
        used.mkdir(mode=0)
        used.chmod(0o500)
        await until(cannot_decode, 60)
        refused = await client.post("/v1/classify", content=image_bytes())
        assert (refused.status_code, refused.json()["code"]) == (503, "decoders_unavailable")
        assert refused.headers["retry-after"] == "5"

        async def is_counted() -> bool:
            return "resnest_ready 0.0" in (await client.get("/metrics")).text

        await until(is_counted)

        used.rmdir()
        hidden.rename(used)
        await until(is_ready, 60)
        assert (await client.post("/v1/classify", content=image_bytes())).status_code == 200
