"""`POST /v1/segment` with each form of a mask, and with some classes only."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import shapely
from PIL import Image
from pycocotools import mask as coco

from service.imaging import decoder, masks, preprocess
from service.models.cards import ModelCard
from service.tasks.base import DecodedFacts, Drawn, ModelOutput
from service.tasks.decode_jobs import draw
from service.tasks.segmentation.rendering import MaskRendering
from service.tasks.segmentation.schema import SegmentResponse
from tests.gateway.conftest import Running
from tests.gateway.fixtures.fake_outputs import expected_mask
from tests.gateway.fixtures.images import image_bytes, rotated_jpeg

pytestmark = pytest.mark.anyio

TALL = rotated_jpeg((200, 90))  # larger than the network's input, and rotated by its EXIF orientation


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-segmenter"]


def offline(card: ModelCard, content: bytes) -> masks.Mask:
    decoded = decoder.decode(content, decoder.ImageLimits(), needed=preprocess.needed_side(card.input))
    mask = expected_mask(card, preprocess.prepare(card.input, decoded.image))
    return masks.resize(mask, decoded.width, decoded.height)


async def result_of(client: httpx.AsyncClient, query: str, content: bytes = TALL) -> dict[str, Any]:
    response = await client.post(f"/v1/segment?{query}", content=content)
    assert response.status_code == 200, response.text
    SegmentResponse.model_validate(response.json())
    (result,) = response.json()["results"]
    found: dict[str, Any] = result
    return found


def painted(features: list[dict[str, Any]], shape: tuple[int, int]) -> masks.Mask:
    """Return the class of each pixel: that of the polygon that contains its centre."""
    x, y = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    mask = np.full(shape, masks.VOID, np.uint8)
    for feature in features:
        assert (feature["type"], feature["geometry"]["type"]) == ("Feature", "MultiPolygon")
        for outer, *holes in feature["geometry"]["coordinates"]:
            mask[shapely.contains_xy(shapely.Polygon(outer, holes), x, y)] = feature["properties"]["class_id"]
    return mask


async def test_pycocotools_reads_the_run_lengths(client: httpx.AsyncClient, card: ModelCard) -> None:
    mask = (await result_of(client, "mask=rle"))["mask"]

    expected = offline(card, TALL)
    assert (mask["format"], mask["height"], mask["width"]) == ("rle", *expected.shape)
    assert [each["class_id"] for each in mask["masks"]] == np.unique(expected).tolist()
    for each in mask["masks"]:
        assert np.array_equal(coco.decode(each), expected == each["class_id"])


async def test_the_polygons_painted_again_are_the_mask(client: httpx.AsyncClient, card: ModelCard) -> None:
    mask = (await result_of(client, "mask=polygons"))["mask"]

    expected = offline(card, TALL)
    assert (mask["type"], mask["height"], mask["width"]) == ("FeatureCollection", *expected.shape)
    assert np.array_equal(painted(mask["features"], expected.shape), expected)


async def test_a_tolerance_takes_points_away(client: httpx.AsyncClient) -> None:
    counts = []
    for query in ("mask=polygons", "mask=polygons&tolerance=20"):
        features = (await result_of(client, query))["mask"]["features"]
        counts.append(sum(len(ring) for each in features for part in each["geometry"]["coordinates"] for ring in part))

    assert counts[1] < counts[0]


@pytest.mark.parametrize("classes", ["classes=cat", "classes=1", "classes=cat&classes=1"])
@pytest.mark.parametrize("form", ["png", "rle", "polygons"])
async def test_only_the_classes_asked_for_are_told(
    form: str, classes: str, client: httpx.AsyncClient, card: ModelCard
) -> None:
    result = await result_of(client, f"mask={form}&{classes}")

    expected = offline(card, TALL)
    shown = masks.select_classes(expected, {1})
    mask = result["mask"]
    masks_by_form: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "png": lambda: np.asarray(Image.open(io.BytesIO(base64.b64decode(mask["data"])))),
        "rle": lambda: np.where(coco.decode(mask["masks"][0]), 1, masks.VOID),
        "polygons": lambda: painted(mask["features"], expected.shape),
    }
    assert np.array_equal(masks_by_form[form](), shown)
    (row,) = result["segments"]
    assert (row["class_id"], row["pixels"]) == (1, (expected == 1).sum())
    assert row["share"] == round((expected == 1).mean(), 6)


async def test_classes_that_are_not_in_the_picture_leave_nothing(client: httpx.AsyncClient) -> None:
    black = Image.new("RGB", (64, 64))
    out = io.BytesIO()
    black.save(out, "PNG")

    for form in ("png", "rle", "polygons"):
        result = await result_of(client, f"mask={form}&classes=dog&overlay=webp", out.getvalue())
        assert result["segments"] == []
        assert not result["mask"].get("masks")
        assert not result["mask"].get("features")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("classes=unicorn", "classes"),
        ("classes=3", "classes"),
        ("tolerance=-1", "tolerance"),
        ("tolerance=nan", "tolerance"),
        ("tolerance=1e9", "tolerance"),
    ],
)
async def test_a_class_or_tolerance_that_cannot_be_is_refused(
    query: str, parameter: str, client: httpx.AsyncClient
) -> None:
    response = await client.post(f"/v1/segment?{query}", content=image_bytes())

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert [row["parameter"] for row in response.json()["errors"]] == [parameter]
    assert "unicorn" not in response.text


async def test_an_overlay_can_be_had_as_webp_in_json_or_alone(client: httpx.AsyncClient) -> None:
    overlay = (await result_of(client, "overlay=webp"))["overlay"]
    alone = await client.post("/v1/segment?overlay=webp", content=TALL, headers={"Accept": "image/webp"})

    assert (overlay["format"], overlay["encoding"]) == ("webp", "base64")
    assert alone.headers["content-type"] == "image/webp"
    assert alone.content == base64.b64decode(overlay["data"])
    assert Image.open(io.BytesIO(alone.content)).size == (overlay["width"], overlay["height"]) == (90, 200)


@pytest.mark.parametrize(
    ("query", "accept", "accepted"),
    [
        ("overlay=true", "image/webp", ["application/json", "image/png"]),
        ("overlay=webp", "image/png", ["application/json", "image/webp"]),
        ("mask=rle", "image/png", ["application/json"]),
    ],
)
async def test_a_media_type_that_was_not_asked_for_is_not_acceptable(
    query: str, accept: str, accepted: list[str], client: httpx.AsyncClient
) -> None:
    response = await client.post(f"/v1/segment?{query}", content=TALL, headers={"Accept": accept})

    assert (response.status_code, response.json()["accepted"]) == (406, accepted)


async def test_a_picture_too_long_for_webp_is_refused_and_its_neighbours_are_not(running: Running) -> None:
    long, other = image_bytes(size=(16_384, 96)), image_bytes()

    async with running() as client:
        alone = await client.post("/v1/segment?overlay=webp", content=long)
        both = await client.post("/v1/segment?overlay=webp", files=[("file", long), ("file", other)])
        png = await client.post("/v1/segment?overlay=png", content=long)

    assert (alone.status_code, alone.json()["code"], alone.json()["limit"]) == (413, "image_too_large", 16_383)
    refused, answered = both.json()["results"]
    assert refused["error"]["code"] == "image_too_large"
    assert answered["overlay"]["format"] == "webp"
    assert png.status_code == 200


def test_a_mask_that_was_not_asked_for_is_not_drawn(card: ModelCard) -> None:
    answer = ModelOutput({"mask": np.zeros((8, 8), np.uint8), "class_scores": np.ones(3, np.float32)}, 1, 0.0, 0.0)
    facts = DecodedFacts(96, 72, "PNG", "RGB", ())
    every = MaskRendering("png", "png")

    for rendering in (every, replace(every, mask=None), replace(every, overlay=None), MaskRendering()):
        layers = rendering.layers(card, facts, answer)
        members = rendering.members(card, facts, answer, Drawn(draw(image_bytes(), decoder.ImageLimits(), layers)))
        assert ("mask" in members, "overlay" in members) == (rendering.mask is not None, rendering.overlay is not None)


async def test_the_confidence_of_each_pixel_is_a_grey_picture_of_the_uploads_size(
    client: httpx.AsyncClient, card: ModelCard
) -> None:
    confidence = (await result_of(client, "confidence=true"))["confidence"]

    image = Image.open(io.BytesIO(base64.b64decode(confidence["data"])))
    decoded = decoder.decode(TALL, decoder.ImageLimits(), needed=preprocess.needed_side(card.input))
    green = preprocess.prepare(card.input, decoded.image)[..., 1]
    assert (image.mode, image.size) == ("L", (90, 200))
    assert np.array_equal(np.asarray(image), masks.resize(np.ascontiguousarray(green), 90, 200))
