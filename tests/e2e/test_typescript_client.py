"""A TypeScript client generated from the OpenAPI description compiles strictly, and reads the service's answers."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Running
from tests.e2e.test_answers import upload

PROJECT = Path(__file__).parent / "typescript"
TOOLS = PROJECT / "node_modules" / ".bin"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (TOOLS / "tsc").exists() or shutil.which("node") is None,
        reason="needs node and the packages of `npm ci --prefix tests/e2e/typescript`",
    ),
]


def ran(*command: str | Path) -> str:
    """Run the command, and return its output; fail with the output if the command fails."""
    done = subprocess.run(
        [str(word) for word in command], cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def received(service: Running) -> dict[str, Any]:
    """What the compiled client received from the service for one image."""
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    try:
        description = build / "openapi.json"
        description.write_bytes(service.client.get("/openapi.json").content)
        ran(TOOLS / "openapi-typescript", description, "-o", build / "api.d.ts")
        ran(TOOLS / "tsc")
        image = base64.b64encode(upload(1, 96, 72, "PNG")).decode()
        answer: dict[str, Any] = json.loads(ran("node", build / "client.js", str(service.client.base_url), image))
    finally:
        shutil.rmtree(build)
    return answer


def scores(answer: dict[str, Any]) -> dict[str, float]:
    (result,) = answer["results"]
    return {each["label"]: each["score"] for each in result["predictions"]}


def test_a_generated_client_compiles_and_is_told_what_http_tells(received: dict[str, Any], service: Running) -> None:
    headers = {"Content-Type": "image/png"}
    response = service.client.post("/v1/classify?top_k=5", content=upload(1, 96, 72, "PNG"), headers=headers)
    expected = scores(response.json())

    assert scores(received["raw"]) == pytest.approx(expected, abs=1e-3)
    assert scores(received["classified"]) == pytest.approx(dict(list(expected.items())[:2]), abs=1e-3)


def test_a_generated_client_is_told_the_models_and_a_mask(received: dict[str, Any]) -> None:
    assert {each["name"] for each in received["models"]["models"]} == {"tiny-classifier", "tiny-segmenter"}
    assert received["segmented"]["results"][0]["image"]["width"] == 96


def test_a_generated_client_is_told_problems_by_their_code(received: dict[str, Any]) -> None:
    assert received["problem"]["code"] == "model_not_found"
