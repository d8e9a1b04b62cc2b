"""Triton's own gRPC client, unchanged."""

import asyncio
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from service.host.processes import free_ports
from service.models.cards import ModelCard
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.fake_outputs import offline_scores
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.routes.open_inference.test_v2 import CLASSIFIER, is_ready

pytestmark = pytest.mark.anyio

CONVERSATION = Path(__file__).with_name("triton_grpc_conversation.py")


def talk(command: list[str | Path]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=image_bytes(), capture_output=True, timeout=120, check=False)


async def test_tritons_client_finds_the_models_and_is_answered_as_they_answer(
    listening: Running, served: dict[str, ModelCard]
) -> None:
    (port,) = free_ports(1)
    async with listening(readiness_interval_s=0.05, grpc_port=port) as gateway:
        await until(partial(is_ready, gateway), 60)
        command: list[str | Path] = [sys.executable, CONVERSATION, f"127.0.0.1:{port}", CLASSIFIER]
        done = await asyncio.to_thread(talk, command)

    assert done.returncode == 0, done.stderr.decode()
    output = json.loads(done.stdout)
    expected = offline_scores(served[CLASSIFIER], image_bytes())
    best = max(range(len(expected)), key=expected.__getitem__)
    assert (output["states"], output["outputs"], output["id"]) == ([True, True, True], ["scores"], "7")
    assert output["scores"] == [pytest.approx(expected, abs=1e-5)]
    assert output["best"].endswith(f":{best}:{served[CLASSIFIER].classes[best].label}")
    assert (output["status"], "image" in output["message"]) == ("StatusCode.INVALID_ARGUMENT", True)
