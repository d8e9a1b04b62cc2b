"""The Python client in front of the whole service: what it returns is what HTTP returns."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resnest_client import AsyncClient, Client, ClientError, RequestError

from tests.e2e.running import Running
from tests.e2e.test_answers import upload

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def client(asked: Running) -> Iterator[Client]:
    with Client(str(asked.client.base_url), timeout_s=30) as made:
        yield made


def over_http(service: Running, path: str) -> dict[str, Any]:
    """Return the result of the image over HTTP."""
    document: dict[str, Any] = service.client.post(path, content=upload(1)).json()
    return {**document, **document["results"][0]}


def test_classes_are_those_that_http_returns(client: Client, asked: Running) -> None:
    answer = client.classify(upload(1), top_k=2)
    expected = over_http(asked, "/v1/classify?top_k=2")

    assert [each.label for each in answer.predictions] == [each["label"] for each in expected["predictions"]]
    assert answer.predictions[0].score == pytest.approx(expected["predictions"][0]["score"], abs=1e-3)
    assert (answer.model.name, answer.image.width, answer.image.height) == ("tiny-classifier", 240, 180)


def test_models_are_compared(client: Client) -> None:
    answer = client.compare(upload(1), ["tiny-classifier", "tiny-classifier-b"], top_k=1)

    assert [each.model.name for each in answer.models] == ["tiny-classifier", "tiny-classifier-b"]
    assert all(len(each.predictions) == 1 and each.error is None for each in answer.models)


def test_a_mask_is_the_same_in_each_form(client: Client) -> None:
    png = client.segment(upload(1), overlay="webp", confidence=True)
    rle = client.segment(upload(1), mask="rle")

    assert png.class_ids().shape == (180, 240)
    assert np.array_equal(png.class_ids(), rle.class_ids())
    assert {each.class_id: each.pixels for each in png.segments} == areas(png.class_ids())
    assert png.overlay is not None
    assert png.overlay.to_numpy().shape == (180, 240, 3)
    assert png.confidence is not None
    assert png.confidence.to_pillow().mode == "L"


def areas(ids: Any) -> dict[int, int]:
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_the_mask_of_a_detection_has_its_area(client: Client) -> None:
    answer = client.detect(upload(1), min_score=0.06, max_detections=5)

    assert 0 < len(answer.detections) <= 5
    for each in answer.detections:
        assert each.to_numpy().shape == (180, 240)
        assert each.to_numpy().sum() == each.pixels


def test_polygons_are_geojson(client: Client) -> None:
    answer = client.segment(upload(1), mask="polygons", tolerance=2)

    assert answer.mask is not None
    assert answer.mask.format == "polygons"
    assert answer.mask.features[0]["geometry"]["type"] == "MultiPolygon"


def test_a_vector_is_normalised(client: Client) -> None:
    answer = client.embed(upload(1), normalise=True)

    assert len(answer.to_list()) == answer.embedding.dimensions
    assert np.linalg.norm(answer.to_numpy()) == pytest.approx(1, abs=1e-3)


def test_the_evidence_for_a_class_has_its_map(client: Client) -> None:
    answer = client.explain(upload(1), classes=["cat"], overlay="png")

    (found,) = answer.explanations
    assert found.label == "cat"
    assert found.overlay is not None
    assert found.overlay.to_pillow().size == (240, 180)


def test_the_models_are_listed_and_described(client: Client) -> None:
    names = {each.name for each in client.models()}
    detail = client.model("tiny-segmenter@1.0")

    assert {"tiny-classifier", "tiny-segmenter", "tiny-detector"} <= names
    assert [each.label for each in detail.labels] == ["background", "cat", "dog"]
    assert detail.limits.max_images > 0


def test_a_problem_has_its_code_and_what_there_is_instead(client: Client) -> None:
    with pytest.raises(RequestError) as caught:
        client.classify(upload(1), model="no-such")

    assert caught.value.code == "model_not_found"
    assert "tiny-classifier" in (caught.value.problem.available or [])
    assert caught.value.request_id


def test_a_deadline_that_cannot_be_met_ends_the_call(client: Client) -> None:
    started = time.monotonic()

    with pytest.raises(ClientError):
        client.with_options(timeout_s=0.002).segment(upload(1, 2000, 2000))

    assert time.monotonic() - started < 30


def test_a_folder_is_classified_and_a_file_that_is_no_image_has_an_error(client: Client, photos: Path) -> None:
    found = list(client.classify_folder(photos / "photos", concurrency=2, top_k=1))

    assert [each.image.name for each in found] == ["a.jpg", "b.png", "c.png"]
    assert [isinstance(each.error, RequestError) for each in found] == [False, True, False]


def test_many_tasks_share_a_client(asked: Running, photos: Path) -> None:
    async def ask() -> tuple[list[str], list[str]]:
        async with AsyncClient(str(asked.client.base_url), timeout_s=30) as client:
            answers = await asyncio.gather(*(client.segment(upload(1), mask="none") for _ in range(6)))
            outcomes = [each async for each in client.classify_folder(photos / "photos")]
            return [each.segments[0].label for each in answers], [each.image.name for each in outcomes if each.answer]

    labels, classified = asyncio.run(ask())

    assert len(set(labels)) == 1
    assert classified == ["a.jpg", "c.png"]
