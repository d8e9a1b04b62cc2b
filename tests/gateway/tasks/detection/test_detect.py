"""`POST /v1/detect`."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco
from shapely import geometry

from service.imaging import decoder, preprocess
from service.imaging.drawing.instance_masks import paste, window_of
from service.models.cards import ModelCard
from service.models.labels import hex_of
from service.tasks.detection.schema import DetectResponse
from tests.gateway.fixtures.fake_outputs import expected_detections
from tests.gateway.fixtures.images import CORRUPT, image_bytes, json_body, rotated_jpeg

pytestmark = pytest.mark.anyio

Pixels = npt.NDArray[np.uint8]
CONTENT = image_bytes(1, size=(150, 90))


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-detector"]


def offline(card: ModelCard, content: bytes) -> tuple[dict[str, Any], int, int]:
    """Return the detections of an upload with boxes in its own pixels, without a gateway, and its size."""
    decoded = decoder.decode(content, decoder.ImageLimits(), needed=preprocess.needed_side(card.input))
    arrays = expected_detections(card, preprocess.prepare(card.input, decoded.image))
    sides = [decoded.width, decoded.height, decoded.width, decoded.height]
    return {**arrays, "boxes": arrays["boxes"].astype(float) * sides}, decoded.width, decoded.height


def decoded_mask(mask: dict[str, Any]) -> Pixels:
    found: Pixels = coco.decode({"size": mask["size"], "counts": mask["counts"].encode()})
    return found


async def detections(client: httpx.AsyncClient, query: str = "", content: bytes = CONTENT) -> list[dict[str, Any]]:
    response = await client.post(f"/v1/detect{query}", content=content)
    assert response.status_code == 200, response.text
    DetectResponse.model_validate(response.json())
    (result,) = response.json()["results"]
    rows: list[dict[str, Any]] = result["detections"]
    return rows


@pytest.mark.parametrize("content", [CONTENT, image_bytes(2, size=(50, 131)), rotated_jpeg((96, 72))])
async def test_boxes_and_masks_are_in_pixels_of_the_upright_upload(
    content: bytes, client: httpx.AsyncClient, card: ModelCard
) -> None:
    rows = await detections(client, "?min_score=0", content)
    expected, width, height = offline(card, content)
    assert [row["score"] for row in rows] == [0.9, 0.7, 0.5, 0.3, 0.1]
    for index, row in enumerate(rows):
        left, top, right, bottom = box = expected["boxes"][index]
        np.testing.assert_allclose(row["bbox"], [left, top, right - left, bottom - top], atol=0.006)
        label = card.classes[expected["class_ids"][index]]
        assert (row["label"], row["class_id"]) == (label.label, label.class_id)
        mask = decoded_mask(row["mask"])
        assert mask.shape == (height, width)
        window = window_of(tuple(box), width, height)
        part = paste(expected["masks"][index], tuple(box), window)
        np.testing.assert_array_equal(mask[window[1] : window[3], window[0] : window[2]], part)
        assert mask.sum() == part.sum() == row["pixels"]


async def test_the_query_bounds_score_number_and_classes(client: httpx.AsyncClient, card: ModelCard) -> None:
    every = await detections(client, "?min_score=0")
    assert await detections(client) == [row for row in every if row["score"] >= 0.5]
    assert await detections(client, "?min_score=0&max_detections=2") == every[:2]
    for label in card.classes:
        own = [row for row in every if row["label"] == label.label]
        assert await detections(client, f"?min_score=0&classes={label.label}") == own
        assert await detections(client, f"?min_score=0&classes={label.class_id}") == own
    assert await detections(client, "?min_score=0.95") == []


async def test_each_detection_has_a_colour_of_its_own_which_the_overlay_uses(
    client: httpx.AsyncClient, card: ModelCard
) -> None:
    rows = await detections(client, "?min_score=0")
    overlay = await client.post("/v1/detect?min_score=0&mask=none", content=CONTENT, headers={"Accept": "image/png"})
    with Image.open(io.BytesIO(overlay.content)) as drawn:
        pixels = np.asarray(drawn.convert("RGB")).reshape(-1, 3).tolist()
    assert len({row["color"] for row in rows}) == len(rows)
    assert {row["color"] for row in rows} <= {hex_of((red, green, blue)) for red, green, blue in pixels}
    for label in card.classes:
        own = [row["color"] for row in rows if row["class_id"] == label.class_id]
        assert own[:1] == [label.hex_color][: len(own)]


async def test_polygons_cover_the_pixels_of_the_mask(client: httpx.AsyncClient) -> None:
    runs = await detections(client, "?min_score=0")
    polygons = await detections(client, "?min_score=0&mask=polygons")
    for one, other in zip(runs, polygons, strict=True):
        assert other["mask"]["type"] == "MultiPolygon"
        area = sum(geometry.Polygon(outer, holes).area for outer, *holes in other["mask"]["coordinates"])
        assert area == one["pixels"] == other["pixels"]
        if one["pixels"]:
            left, top, width, height = coco.toBbox({**one["mask"], "counts": one["mask"]["counts"].encode()})
            bounds = geometry.MultiPolygon([(outer, holes) for outer, *holes in other["mask"]["coordinates"]]).bounds
            assert bounds == (left, top, left + width, top + height)


async def test_masks_may_be_left_out(client: httpx.AsyncClient) -> None:
    assert all({"mask", "pixels"}.isdisjoint(row) for row in await detections(client, "?mask=none"))


@pytest.mark.parametrize("kind", ["png", "webp"])
async def test_an_overlay_is_the_response_or_a_part_of_it(client: httpx.AsyncClient, kind: str) -> None:
    alone = await client.post("/v1/detect", content=CONTENT, headers={"Accept": f"image/{kind}"})
    within = await client.post(f"/v1/detect?overlay={kind}", content=CONTENT)
    overlay = within.json()["results"][0]["overlay"]
    DetectResponse.model_validate(within.json())
    assert alone.headers["content-type"] == f"image/{kind}"
    assert base64.b64decode(overlay["data"]) == alone.content
    with Image.open(io.BytesIO(alone.content)) as drawn:
        assert drawn.format == kind.upper()
        assert drawn.size == (overlay["width"], overlay["height"]) == (150, 90)


async def test_all_three_kinds_of_upload_give_the_same_detections(client: httpx.AsyncClient) -> None:
    rows = await detections(client)
    form = await client.post("/v1/detect", files=[("file", ("a.png", CONTENT)), ("file", ("b.png", CORRUPT))])
    json = await client.post("/v1/detect", json=json_body(CONTENT, CONTENT))
    assert form.json()["results"][0]["detections"] == rows
    assert form.json()["results"][1]["error"]["code"] == "image_corrupt"
    assert [row["detections"] for row in json.json()["results"]] == [rows, rows]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("classes=bird", "classes"), ("min_score=2", "min_score"), ("top_k=1", "top_k"), ("mask=png", "mask")],
)
async def test_a_parameter_that_cannot_be_is_refused(client: httpx.AsyncClient, query: str, parameter: str) -> None:
    response = await client.post(f"/v1/detect?{query}", content=CONTENT)
    assert response.status_code == 422
    assert parameter in response.json()["errors"][0]["parameter"]


async def test_a_classifier_detects_nothing(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/detect?model=tiny-classifier", content=CONTENT)
    assert (response.status_code, response.json()["available"]) == (404, ["tiny-detector"])
