"""The JavaScript client in front of the whole service: what it returns is what HTTP returns."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ran
from tests.e2e.running import Running
from tests.e2e.test_answers import upload

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
]


@pytest.fixture(scope="module")
def received(asked: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each method returned for one image."""
    photo = tmp_path_factory.mktemp("photo") / "photo.jpg"
    photo.write_bytes(upload(1))
    answers: dict[str, Any] = json.loads(
        ran("node", Path(__file__).with_name("ask.js"), str(asked.client.base_url), photo)
    )
    return answers


def test_classes_are_those_that_http_returns(received: dict[str, Any], asked: Running) -> None:
    response = asked.client.post("/v1/classify?top_k=2", content=upload(1)).json()
    expected = {each["label"]: each["score"] for each in response["results"][0]["predictions"]}

    found = {each["label"]: each["score"] for each in received["classified"]["predictions"]}
    assert found == pytest.approx(expected, abs=1e-3)
    assert received["classified"]["model"]["name"] == "tiny-classifier"
    assert received["classified"]["image"]["width"] == 240


def test_models_are_compared(received: dict[str, Any]) -> None:
    assert [each["model"]["name"] for each in received["compared"]["models"]] == [
        "tiny-classifier",
        "tiny-classifier-b",
    ]


def test_a_mask_is_a_file(received: dict[str, Any]) -> None:
    assert received["segmented"]["mask"]["width"] == 240
    assert received["mask"] > 50


def test_objects_vectors_and_evidence_are_returned(received: dict[str, Any]) -> None:
    assert 0 < len(received["detected"]["detections"]) <= 5
    assert received["length"] == pytest.approx(1, abs=1e-3)
    assert received["explained"]["explanations"][0]["label"] == "cat"


def test_the_models_are_listed_and_described(received: dict[str, Any]) -> None:
    assert {"tiny-classifier", "tiny-detector"} <= {each["name"] for each in received["models"]}
    assert [each["label"] for each in received["model"]["labels"]] == ["background", "cat", "dog"]


def test_a_problem_has_its_code(received: dict[str, Any]) -> None:
    assert received["problem"] == "model_not_found"


def test_an_image_of_many_fails_for_itself(received: dict[str, Any]) -> None:
    assert [count for _, count, _ in received["outcomes"]] == [5, None, 5]
    assert received["outcomes"][1][2] == "unsupported_media_type"
