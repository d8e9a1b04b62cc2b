"""A third task in a real TorchServe: its worker returns a different number of values for each image."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from service.config.settings import Settings
from service.gateway.app import create_app
from service.tasks.base import Task
from tests.gateway.conftest import anyio_backend, components_of, settled, short_folder, until
from tests.gateway.fixtures.images import image_bytes
from tests.laws.sources import ROOT
from tests.toy_task.conftest import PICKER, SEEDS, offline, store, task

__all__ = ["anyio_backend", "short_folder", "store", "task"]

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]


@pytest.fixture
def addresses(store: Path, short_folder: Path) -> Iterator[dict[str, str]]:
    """The addresses of a running TorchServe with the toy task's model."""
    made = {f"{kind}_url": f"unix:{short_folder / kind}.sock" for kind in ("inference", "management")}
    words = [f"--inference-address={made['inference_url']}", f"--management-address={made['management_url']}"]
    command = [sys.executable, "-m", "tests.toy_task.worker", "--store", str(store), "--models", PICKER, *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (short_folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *command,
                f"--metrics-address=unix:{short_folder / 'metrics'}.sock",
                "--folder",
                str(short_folder / "run"),
            ],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield made
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
async def client(addresses: dict[str, str], store: Path, task: Task) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway in front of it."""
    assert task.name == "picking"
    inference, management = addresses["inference_url"], addresses["management_url"]
    app = create_app(Settings(model_store=store, models=(PICKER,), inference_url=inference, management_url=management))
    async with app.router.lifespan_context(app):

        async def is_ready() -> bool:
            await settled(app)
            return components_of(app).readiness.ready

        await until(is_ready, 120)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as made:
            yield made


async def test_a_real_worker_answers_the_third_task(client: httpx.AsyncClient, store: Path) -> None:
    contents = [image_bytes(seed) for seed in SEEDS]
    response = await client.post("/v1/pick", files=[("file", each) for each in contents])

    assert response.status_code == 200, response.text
    found = [[pick["class_id"] for pick in result["picks"]] for result in response.json()["results"]]
    assert found == [offline(store, content)[:5] for content in contents]
    assert [len(each) for each in found] == [2, 3, 1, 4]
