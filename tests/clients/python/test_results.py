"""The types of answers agree with the description of the API, and hold its examples."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import BaseModel
from resnest_client import endpoints, masks, results
from resnest_client.problems import ParameterError, Problem
from resnest_client.results import Detection, Embedding, ModelPredictions, Segmentation

from service.config.settings import Settings
from service.gateway.app import create_app
from tests.clients.python.answers import of
from tests.stores import write_store

# The schemas of the description that each type is made of. A response about one image is joined with its only result.
PARTS: dict[type[BaseModel], tuple[str, ...]] = {
    results.ModelName: ("ModelName",),
    results.ImageFacts: ("ImageFacts",),
    results.Timing: ("Timing",),
    results.ClassLabel: ("ClassLabel",),
    results.Prediction: ("Prediction",),
    results.Classification: ("ClassifyResponse", "ClassifiedImage"),
    results.Comparison: ("CompareResponse", "ComparedImage"),
    results.ModelPredictions: ("Comparison", "FailedComparison"),
    results.Segment: ("Segment",),
    results.Segmentation: ("SegmentResponse", "SegmentedImage"),
    results.Detection: ("Detection",),
    results.Detections: ("DetectResponse", "DetectedImage"),
    results.Embedding: ("EmbedResponse", "EmbeddedImage"),
    results.Vector: ("Embedding",),
    results.ClassExplanation: ("ClassExplanation",),
    results.BlockAttention: ("BlockAttention",),
    results.Explanation: ("ExplainResponse", "ExplainedImage"),
    results.ModelSummary: ("ModelSummary",),
    results.ModelLabel: ("LabelRow",),
    results.Limits: ("Limits",),
    results.ModelDetail: ("ModelDetail",),
    results.ModelList: ("ModelList",),
    masks.EncodedImage: ("Png",),
    masks.ClassRuns: ("ClassRuns",),
    masks.RunLengths: ("RunLengths",),
    masks.Polygons: ("Polygons",),
    masks.InstanceRuns: ("InstanceRuns",),
    masks.InstancePolygons: ("InstancePolygons",),
    Problem: ("Problem",),
    ParameterError: ("ParameterError",),
}
# Members that a user of the client does not need.
LEFT_OUT = {"results", "index", "filename", "encoding", "input", "memory", "best", "transport", "masks", "proposals"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store: Path = write_store(tmp_path_factory.mktemp("store"), weights=False)
    described: dict[str, Any] = create_app(Settings(model_store=store)).openapi()
    return described


@pytest.mark.parametrize("shape", PARTS, ids=lambda shape: shape.__name__)
def test_a_type_has_the_members_of_its_schemas_and_no_others(shape: type[BaseModel], document: dict[str, Any]) -> None:
    parts = [document["components"]["schemas"][name] for name in PARTS[shape]]
    described = {name for part in parts for name in part["properties"]}

    assert set(shape.model_fields) - described == set()
    assert described - set(shape.model_fields) <= LEFT_OUT


@pytest.mark.parametrize("shape", PARTS, ids=lambda shape: shape.__name__)
def test_a_member_is_required_only_where_it_is_always_there(shape: type[BaseModel], document: dict[str, Any]) -> None:
    parts = [document["components"]["schemas"][name] for name in PARTS[shape]]
    required = {name for part in parts for name in part.get("required", [])}

    assert {name for name, field in shape.model_fields.items() if field.is_required()} <= required


@pytest.mark.parametrize("name", ["classify", "segment", "detect", "embed", "explain"])
def test_a_method_has_the_parameters_of_its_endpoint_with_their_values(name: str, document: dict[str, Any]) -> None:
    rows = document["paths"][f"/v1/{name}"]["post"]["parameters"]
    described = {row["name"]: row["schema"] for row in rows if row["in"] == "query"}
    function = getattr(endpoints, name)
    typed = {key: value for key, value in function.__annotations__.items() if key not in {"image", "return"}}

    assert described.keys() - typed.keys() <= {"encoding"}
    assert typed.keys() <= described.keys()
    for parameter, annotation in typed.items():
        literals = [value for part in get_args(annotation) for value in get_args(part) if isinstance(value, str)]
        if "enum" in described[parameter]:
            assert set(literals) == set(described[parameter]["enum"]) - {"true"}, parameter


@pytest.mark.parametrize("call", [results.Classification, results.Segmentation, results.Detections])
def test_an_example_of_an_answer_is_read(call: type[BaseModel]) -> None:
    response = of(PARTS[call][0])

    found = call.model_validate({**response, **response["results"][0]})

    assert found.model_dump()["request_id"] == response["request_id"]


def test_a_failed_model_of_a_comparison_has_its_problem() -> None:
    model = {"name": "a", "version": "1.0", "task": "classification"}
    error = {"type": "/problems/x", "title": "X", "status": 503, "detail": "Y.", "code": "x"}

    failed = ModelPredictions.model_validate({"model": model, "error": error})

    assert failed.predictions == ()
    assert failed.error is not None
    assert failed.error.code == "x"


def test_a_member_that_this_version_does_not_know_is_ignored() -> None:
    assert results.ClassLabel.model_validate({"label": "cat", "class_id": 1, "new": 2}).label == "cat"


def test_a_vector_is_the_same_as_numbers_and_as_an_array() -> None:
    response = of("EmbedResponse")
    numbers = np.array([0.5, -2.25, 3.0], "<f4")
    vector = {"encoding": "base64", "dimensions": 3, "data": "AAAAPwAAEMAAAEBA"}

    answer = Embedding.model_validate({**response, **response["results"][0], "embedding": vector})

    assert answer.to_list() == numbers.tolist()
    assert answer.to_numpy().tolist() == numbers.tolist()


def test_an_answer_without_a_mask_of_pixels_says_what_to_ask_for() -> None:
    response = of("SegmentResponse")
    answer = Segmentation.model_validate({**response, **response["results"][0]})
    row = {"label": "cat", "class_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4], "color": "#ffffff"}

    assert answer.class_ids().shape == (answer.image.height, answer.image.width)
    with pytest.raises(ValueError, match="mask='png'"):
        answer.model_copy(update={"mask": None}).class_ids()
    with pytest.raises(ValueError, match="mask='rle'"):
        Detection.model_validate(row).to_numpy()
