"""KServe's own client, unchanged, in a Python of its own: it pins older libraries than ours."""

import asyncio
import json
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from service.models.cards import ModelCard
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.fake_torchserve import offline_scores
from tests.gateway.fixtures.pictures import picture
from tests.gateway.routes.test_v2 import CLASSIFIER, is_ready
from tests.laws.sources import ROOT

pytestmark = pytest.mark.anyio

PYTHON = ROOT / "build" / "kserve-client" / "bin" / "python"
TALK = Path(__file__).with_name("kserve_conversation.py")


def talk(url: str) -> subprocess.CompletedProcess[bytes]:
    if not PYTHON.exists():
        reason = "KServe's client is not installed; .ci/kserve-client.sh brings it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run(
        [PYTHON, TALK, url, CLASSIFIER], input=picture(), capture_output=True, timeout=240, check=False
    )


async def test_kserves_client_finds_the_models_and_is_answered_as_they_answer(
    listening: Running, served: dict[str, ModelCard]
) -> None:
    async with listening(readiness_interval_s=0.05) as gateway:
        await until(partial(is_ready, gateway), 60)
        done = await asyncio.to_thread(talk, str(gateway.base_url).rstrip("/"))

    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["states"] == [True, True, True, False]
    assert told["model"] == [CLASSIFIER, "7"]
    assert told["missing"] == 404
    for scores in told["scores"]:
        assert scores == [pytest.approx(offline_scores(served[CLASSIFIER], picture()), abs=1e-5)]
