"""The requests of each method."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from resnest_client import endpoints


def test_parameters_that_are_not_given_are_not_sent() -> None:
    assert endpoints.classify(b"").query == {}
    assert endpoints.segment(b"", classes=()).query == {}


def test_parameters_are_written_as_the_api_reads_them() -> None:
    call = endpoints.segment(b"", confidence=True, tolerance=1.5, classes=["cat", "2"], mask="polygons")

    assert call.query == {"confidence": "true", "tolerance": "1.5", "classes": ["cat", "2"], "mask": "polygons"}


def test_zero_and_false_are_sent() -> None:
    assert endpoints.classify(b"", min_score=0.0).query == {"min_score": "0.0"}
    assert endpoints.embed(b"", normalise=False).query == {"normalise": "false", "encoding": "base64"}


def test_a_comparison_needs_two_models() -> None:
    assert endpoints.compare(b"", ["a", "b"]).query == {"model": ["a", "b"]}
    for models in (["a", "a"], [], "starter-classifier"):
        with pytest.raises(ValueError, match="two models"):
            endpoints.compare(b"", models)


@pytest.mark.parametrize("method", ["classify", "segment", "detect", "embed", "explain"])
@pytest.mark.parametrize("models", [["a", "b"], ("a", "b"), {"a", "b"}, ["a"], []])
def test_a_list_of_models_is_refused_and_told_the_method_that_compares(method: str, models: object) -> None:
    with pytest.raises(TypeError, match=r"name of one model\. compare\(image, models\)"):
        getattr(endpoints, method)(b"", model=models)


def test_the_image_is_read_only_when_it_is_sent() -> None:
    missing = Path("missing.jpg")

    assert endpoints.classify(missing).image == missing


def test_the_name_of_a_model_is_one_part_of_the_path() -> None:
    assert endpoints.model("starter@1.0").path == "v1/models/starter@1.0"
    assert endpoints.model("../livez").path == "v1/models/..%2Flivez"


@pytest.mark.parametrize("content", [b"{}", b'{"models": [{}]}', b"<html>"])
def test_an_answer_that_is_none_of_the_service_is_not_read_as_one(content: bytes) -> None:
    with pytest.raises(ValidationError):
        endpoints.models().read(content)
