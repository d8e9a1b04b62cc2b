"""A TypeScript client generated from the OpenAPI description compiles strictly, and reads the service's answers.

Its types agree with those of the JavaScript client.
"""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ran
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


@pytest.fixture(scope="module")
def received(service: Running) -> dict[str, Any]:
    """What the compiled client received from the service for one image."""
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    try:
        description = build / "openapi.json"
        description.write_bytes(service.client.get("/openapi.json").content)
        ran(TOOLS / "openapi-typescript", description, "-o", build / "api.d.ts", folder=PROJECT)
        ran(TOOLS / "tsc", folder=PROJECT)
        ran(TOOLS / "tsc", "--project", PROJECT / "agreement.tsconfig.json")
        image = base64.b64encode(upload(1, 96, 72, "PNG")).decode()
        answer: dict[str, Any] = json.loads(ran("node", build / "client.js", str(service.client.base_url), image))
    finally:
        shutil.rmtree(build)
    return answer


def scores(predictions: list[dict[str, Any]]) -> dict[str, float]:
    return {each["label"]: each["score"] for each in predictions}


def test_a_generated_client_compiles_and_returns_what_http_returns(received: dict[str, Any], service: Running) -> None:
    headers = {"Content-Type": "image/png"}
    response = service.client.post("/v1/classify?top_k=5", content=upload(1, 96, 72, "PNG"), headers=headers)
    (result,) = response.json()["results"]
    expected = scores(result["predictions"])

    assert scores(received["raw"]) == pytest.approx(expected, abs=1e-3)
    assert scores(received["uploaded"]) == pytest.approx(dict(list(expected.items())[:2]), abs=1e-3)
    assert "wnid" not in received


def test_a_generated_client_reads_the_models_and_a_mask(received: dict[str, Any]) -> None:
    assert {each["name"] for each in received["models"]["models"]} == {"tiny-classifier", "tiny-segmenter"}
    assert received["segmented"]["results"][0]["image"]["width"] == 96
    assert received["maskType"] == "image/png"


def test_a_generated_client_reads_problems_by_their_code(received: dict[str, Any]) -> None:
    assert received["problem"]["code"] == "model_not_found"
