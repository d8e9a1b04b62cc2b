"""KServe's own clients, unchanged, in a separate Python, because it pins older libraries than this project."""

import asyncio
import json
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from service.host.processes import free_ports
from service.models.cards import ModelCard
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.fake_outputs import offline_scores
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.routes.open_inference.test_v2 import CLASSIFIER, is_ready
from tests.laws.sources import ROOT

pytestmark = pytest.mark.anyio

PYTHON = ROOT / "build" / "kserve-client" / "bin" / "python"
CONVERSATION = Path(__file__).with_name("kserve_conversation.py")


def talk(url: str, address: str) -> subprocess.CompletedProcess[bytes]:
    if not PYTHON.exists():
        reason = "KServe's client is not installed; .ci/kserve-client.sh installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run(
        [PYTHON, CONVERSATION, url, address, CLASSIFIER],
        input=image_bytes(),
        capture_output=True,
        timeout=240,
        check=False,
    )


async def test_kserves_client_finds_the_models_and_is_answered_as_they_answer(
    listening: Running, served: dict[str, ModelCard]
) -> None:
    (port,) = free_ports(1)
    async with listening(readiness_interval_s=0.05, grpc_port=port) as gateway:
        await until(partial(is_ready, gateway), 60)
        done = await asyncio.to_thread(talk, str(gateway.base_url).rstrip("/"), f"127.0.0.1:{port}")

    assert done.returncode == 0, done.stderr.decode()
    both = json.loads(done.stdout)
    output = both["rest"]
    assert output["states"] == [True, True, True, False]
    assert output["model"] == [CLASSIFIER, "7"]
    assert output["missing"] == 404
    for scores in output["scores"]:
        assert scores == [pytest.approx(offline_scores(served[CLASSIFIER], image_bytes()), abs=1e-5)]
    assert both["grpc"] == {
        "states": [True, True, True],
        "scores": [pytest.approx(offline_scores(served[CLASSIFIER], image_bytes()), abs=1e-5)],
        "model": [CLASSIFIER, "8"],
    }
