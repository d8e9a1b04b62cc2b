"""Several detectors side by side, the largest masks, and the tensors of `/v2`."""

import base64
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.errors import MasksTooLarge
from service.imaging.drawing.instance_masks import COLUMN_COST, InstanceForm
from service.models.cards import ModelCard
from service.tasks.base import DecodedFacts, ModelOutput
from service.tasks.detection.detect import plan
from service.tasks.detection.rendering import check_columns, check_pixels
from service.tasks.detection.schema import CompareDetectionsResponse, DetectQuery
from tests.gateway.fixtures.fake_outputs import expected_detections
from tests.gateway.fixtures.images import image_bytes
from tests.stores import write_store

pytestmark = pytest.mark.anyio

CONTENT = image_bytes(1, size=(150, 90))
BOXES, MASKS = "faster_rcnn_resnest50", "starter_mask_rcnn_resnest14"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with two detectors with masks, and one without."""
    folder = write_store(tmp_path_factory.mktemp("store"), "tiny-detector", weights=False)
    for name, network in (("boxes-only", BOXES), ("tiny-detector-b", MASKS)):
        other = folder / name
        other.mkdir()
        for path in (folder / "tiny-detector").iterdir():
            text = path.read_text(encoding="utf-8")
            text = text.replace('name = "tiny-detector"', f'name = "{name}"').replace(MASKS, network)
            (other / path.name).write_text(text, encoding="utf-8")
    return folder


async def test_models_with_and_without_masks_answer_side_by_side(client: httpx.AsyncClient) -> None:
    names = ["tiny-detector", "boxes-only"]
    response = await client.post("/v1/detect", params={"model": names}, content=CONTENT)
    CompareDetectionsResponse.model_validate(response.json())
    with_masks, without = response.json()["results"][0]["models"]
    assert [block["model"]["name"] for block in (with_masks, without)] == names
    assert all("mask" in row for row in with_masks["detections"])
    assert without["detections"]
    assert not any("mask" in row for row in without["detections"])


@pytest.mark.parametrize(
    ("query", "parameter", "words"),
    [
        ("model=boxes-only&mask=rle", "mask", "boxes-only has no masks"),
        ("model=tiny-detector&model=boxes-only&mask=polygons", "mask", "boxes-only has no masks"),
        ("model=tiny-detector&model=boxes-only&overlay=png", "overlay", "ask each model alone"),
    ],
)
async def test_what_a_model_cannot_do_is_refused(
    client: httpx.AsyncClient, query: str, parameter: str, words: str
) -> None:
    response = await client.post(f"/v1/detect?{query}", content=CONTENT)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    (row,) = response.json()["errors"]
    assert row["parameter"] == parameter
    assert words in row["detail"]


async def test_several_models_have_no_overlay_as_the_response(client: httpx.AsyncClient) -> None:
    query = "model=tiny-detector&model=boxes-only"
    response = await client.post(f"/v1/detect?{query}", content=CONTENT, headers={"Accept": "image/png"})
    assert (response.status_code, response.json()["accepted"]) == (406, ["application/json"])


async def test_a_model_describes_whether_it_has_masks(client: httpx.AsyncClient) -> None:
    described = [(await client.get(f"/v1/models/{name}")).json() for name in ("tiny-detector", "boxes-only")]
    assert [each["masks"] for each in described] == [True, False]
    assert [each["color"] for each in described[0]["labels"]] == ["#e6194b", "#4363d8"]


def test_masks_of_more_pixels_than_are_drawn_are_refused_with_a_way_out() -> None:
    facts = DecodedFacts(3000, 3000, "PNG", "RGB", ())
    whole = (0.0, 0.0, 3000.0, 3000.0)
    check_pixels([whole] * 7, facts)
    with pytest.raises(MasksTooLarge) as caught:
        check_pixels([whole] * 8, facts)
    assert (caught.value.problem()["limit"], caught.value.problem()["actual"]) == (64_000_000, 72_000_000)
    assert "mask=none" in caught.value.cure
    check_pixels([(0.0, 0.0, 9000.0, 5000.0)] * 4, DecodedFacts(9000, 5000, "PNG", "RGB", ()))


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_masks_that_are_wider_together_than_is_encoded_are_refused(form: InstanceForm) -> None:
    facts = DecodedFacts(3000, 3000, "PNG", "RGB", ())
    whole = (0.0, 0.0, 3000.0, 3000.0)
    check_columns([whole] * 21, facts, form)
    with pytest.raises(MasksTooLarge) as caught:
        check_columns([whole] * 22, facts, form)
    assert (caught.value.problem()["limit"], caught.value.problem()["actual"]) == (64_000, 66_000)
    assert form in caught.value.detail
    assert "mask=rle" in caught.value.cure


def test_polygons_take_ten_times_as_long_as_run_lengths_and_a_wide_image_gets_no_more_of_them() -> None:
    facts, whole = DecodedFacts(16_384, 3000, "JPEG", "RGB", ()), (0.0, 0.0, 16_384.0, 3000.0)
    assert COLUMN_COST["polygons"] == 10 * COLUMN_COST["rle"]
    check_columns([whole] * 16, facts, "rle")
    with pytest.raises(MasksTooLarge) as caught:
        check_columns([whole] * 7, facts, "polygons")
    assert (caught.value.problem()["limit"], caught.value.problem()["actual"]) == (64_000, 114_688)


def test_an_overlay_says_how_many_pixels_it_pastes(served: dict[str, ModelCard]) -> None:
    card, facts = served["tiny-detector"], DecodedFacts(800, 800, "PNG", "RGB", ())
    arrays = expected_detections(card, np.zeros((8, 8, 3), np.uint8))
    arrays["boxes"][:] = [0, 0, 1, 0.5]
    query = DetectQuery(min_score=0, overlay="png")
    (layer,) = plan([card], query).layers(card, facts, ModelOutput(arrays, 1, 0.0))
    assert layer.pixels == 5 * 800 * 400
    (without,) = plan([card], query.model_copy(update={"mask": "none"})).layers(
        card, facts, ModelOutput(arrays, 1, 0.0)
    )
    assert without.pixels == 0


async def test_masks_of_large_photos_side_by_side_are_those_of_each_model_alone(client: httpx.AsyncClient) -> None:
    content = image_bytes(3, size=(2600, 1800), kind="JPEG")
    names = ["tiny-detector", "tiny-detector-b"]
    query: dict[str, Any] = {"min_score": 0, "mask": "polygons", "tolerance": 2}
    response = await client.post("/v1/detect", params={"model": names, **query}, content=content)
    CompareDetectionsResponse.model_validate(response.json())
    (result,) = response.json()["results"]
    for name, block in zip(names, result["models"], strict=True):
        alone = await client.post("/v1/detect", params={"model": name, **query}, content=content)
        assert block["model"]["name"] == name
        assert block["detections"] == alone.json()["results"][0]["detections"]


def test_a_response_that_is_the_overlay_encodes_no_masks(served: dict[str, ModelCard]) -> None:
    card, facts = served["tiny-detector"], DecodedFacts(3000, 3000, "PNG", "RGB", ())
    output = ModelOutput(expected_detections(card, np.zeros((8, 8, 3), np.uint8)), 1, 0.0)
    rendering = plan([card], DetectQuery(min_score=0))
    assert rendering.painting(card, facts, output)
    assert rendering.alone("image/png").painting(card, facts, output) is None


def tensors(outputs: list[dict[str, Any]] | None = None, **parameters: Any) -> dict[str, Any]:
    data = [base64.b64encode(CONTENT).decode(), base64.b64encode(image_bytes(2, size=(40, 80))).decode()]
    image = {"name": "image", "shape": [2], "datatype": "BYTES", "data": data}
    return {"inputs": [image], "parameters": parameters, **({"outputs": outputs} if outputs else {})}


async def test_tensors_of_images_with_different_numbers_are_padded(client: httpx.AsyncClient) -> None:
    path = "/v2/models/tiny-detector/infer"
    answer = (await client.post(path, json=tensors())).json()
    rows = {each["name"]: each for each in answer["outputs"]}
    assert list(rows) == ["num_detections", "boxes", "scores", "class_ids"]
    assert rows["num_detections"]["data"] == [5, 5]
    assert rows["boxes"]["shape"] == [2, 5, 4]
    fewer = (await client.post(path, json=tensors(min_score=0.6, max_detections=1))).json()
    assert {each["name"]: each["shape"] for each in fewer["outputs"]}["scores"] == [2, 1]


async def test_the_masks_are_a_tensor_on_request(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v2/models/tiny-detector/infer", json=tensors([{"name": "masks"}]))).json()
    (masks,) = answer["outputs"]
    assert (masks["datatype"], masks["shape"]) == ("UINT8", [2, 5, 28, 28])
    assert np.unique(masks["data"]).size > 100


@pytest.mark.parametrize(
    "body",
    [
        tensors(min_score=7),
        tensors([{"name": "scores", "parameters": {"classification": 2}}]),
        tensors([{"name": "boxes", "parameters": {"classification": 2}}]),
    ],
    ids=["parameter", "scores of detections", "boxes"],
)
async def test_tensors_that_cannot_be_are_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await client.post("/v2/models/tiny-detector/infer", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
