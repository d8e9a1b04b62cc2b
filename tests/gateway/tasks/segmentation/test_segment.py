"""`POST /v1/segment`."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.imaging import decoder, masks, preprocess
from service.models.cards import ModelCard
from service.tasks.segmentation.schema import SegmentResponse
from service.tasks.shapes import Problem
from tests.gateway.conftest import Running, app_of, components_of
from tests.gateway.fixtures.fake_outputs import expected_mask, expected_scores
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes, json_body, rotated_jpeg

pytestmark = pytest.mark.anyio


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-segmenter"]


def offline(card: ModelCard, content: bytes) -> tuple[masks.Mask, list[float]]:
    """Return the mask at the size of the upright upload and the score of each class, without a gateway."""
    decoded = decoder.decode(content, decoder.ImageLimits(), needed=preprocess.needed_side(card.input))
    pixels = preprocess.prepare(card.input, decoded.image)
    mask = masks.resize(expected_mask(card, pixels), decoded.width, decoded.height)
    return mask, [float(score) for score in expected_scores(card, pixels)]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def decoded_png(file: dict[str, Any]) -> Image.Image:
    assert (file["format"], file["encoding"]) == ("png", "base64")
    image = opened(base64.b64decode(file["data"], validate=True))
    assert image.size == (file["width"], file["height"])
    return image


@pytest.mark.parametrize("content", [image_bytes(1), image_bytes(2, size=(50, 131)), rotated_jpeg((96, 72))])
async def test_the_mask_has_the_upright_uploads_size_and_a_pixel_is_its_class(
    content: bytes, client: httpx.AsyncClient, card: ModelCard
) -> None:
    response = await client.post("/v1/segment", content=content)

    body = response.json()
    SegmentResponse.model_validate(body)
    (result,) = body["results"]
    mask, _ = offline(card, content)
    image = decoded_png(result["mask"])
    assert response.status_code == 200
    assert body["model"] == {"name": "tiny-segmenter", "version": "1.0", "task": "segmentation"}
    assert image.size == (result["image"]["width"], result["image"]["height"])
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), mask)


async def test_the_best_mask_is_asked_of_the_whole_picture(client: httpx.AsyncClient, card: ModelCard) -> None:
    content = image_bytes(3, size=(300, 200))
    decoded = decoder.decode(content, decoder.ImageLimits())

    response = await client.post("/v1/segment?quality=best&confidence=true", content=content)

    SegmentResponse.model_validate(response.json())
    (result,) = response.json()["results"]
    assert np.array_equal(np.asarray(decoded_png(result["mask"])), expected_mask(card, np.asarray(decoded.image)))
    assert np.array_equal(np.asarray(decoded_png(result["confidence"])), np.asarray(decoded.image)[..., 2])


async def test_a_picture_beyond_2048_pixels_is_made_smaller_for_the_best_mask(client: httpx.AsyncClient) -> None:
    answers = [
        await client.post(f"/v1/segment?{query}", content=image_bytes(size=(3000, 60)), headers={"Accept": "image/png"})
        for query in ("quality=best", "quality=fast", "")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert opened(answers[0].content).size == (3000, 60)
    assert answers[1].content == answers[2].content != answers[0].content


async def test_the_best_masks_of_one_request_are_few(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/segment?quality=best", files=[("file", image_bytes(each)) for each in range(5)])

    Problem.model_validate(response.json())
    assert response.status_code == 413
    assert (response.json()["code"], response.json()["limit"], response.json()["actual"]) == ("too_many_images", 4, 5)


async def test_a_best_mask_that_would_be_late_is_refused_at_once(running: Running) -> None:
    async with running() as client:
        long = components_of(app_of(client)).queues["tiny-segmenter predict_multiscale"]
        long.service_time.mean_s = 99.5  # the deadline is 100 s, ten times that of a single pass

        assert (await client.post("/v1/segment?quality=best", content=image_bytes())).status_code == 200
        long.service_time.mean_s = 101.0
        late = await client.post("/v1/segment?quality=best", content=image_bytes())
        single = await client.post("/v1/segment", content=image_bytes())

    assert (late.status_code, late.json()["code"]) == (503, "overloaded")
    assert single.status_code == 200


async def test_a_quality_that_is_none_is_refused_by_its_name(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/segment?quality=good", content=image_bytes())

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")


async def test_the_palette_is_the_legend(client: httpx.AsyncClient, card: ModelCard) -> None:
    (result,) = (await client.post("/v1/segment", content=image_bytes())).json()["results"]

    palette = decoded_png(result["mask"]).getpalette() or []
    for row in result["segments"]:
        start = 3 * row["class_id"]
        assert "#{:02x}{:02x}{:02x}".format(*palette[start : start + 3]) == row["color"]
        assert row["color"] == card.classes[row["class_id"]].hex_color


async def test_the_segments_are_the_figures_of_the_mask_largest_first(
    client: httpx.AsyncClient, card: ModelCard
) -> None:
    (result,) = (await client.post("/v1/segment", content=image_bytes(4))).json()["results"]

    mask, scores = offline(card, image_bytes(4))
    areas = [row["pixels"] for row in result["segments"]]
    assert areas == sorted(areas, reverse=True)
    assert sum(areas) == mask.size
    assert {row["class_id"] for row in result["segments"]} == set(np.unique(mask).tolist())
    for row in result["segments"]:
        rows, columns = np.nonzero(mask == row["class_id"])
        left, top = columns.min(), rows.min()
        assert row["label"] == card.classes[row["class_id"]].label
        assert row["pixels"] == len(rows)
        assert row["share"] == round(len(rows) / mask.size, 6)
        assert row["bbox"] == [left, top, columns.max() - left + 1, rows.max() - top + 1]
        assert row["score"] == round(scores[row["class_id"]], 6)


async def test_mask_none_leaves_the_mask_out_and_keeps_the_figures(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/segment?mask=none", content=image_bytes())

    SegmentResponse.model_validate(response.json())
    (result,) = response.json()["results"]
    assert "mask" not in result
    assert "overlay" not in result
    assert result["segments"]


async def test_an_overlay_blends_the_colours_over_the_whole_picture(client: httpx.AsyncClient, card: ModelCard) -> None:
    content = rotated_jpeg((400, 300))

    response = await client.post("/v1/segment?overlay=true", content=content)

    SegmentResponse.model_validate(response.json())
    (result,) = response.json()["results"]
    upright = decoder.decode(content, decoder.ImageLimits()).image
    mask, _ = offline(card, content)
    expected = masks.overlay(upright, mask, [label.color for label in card.classes], clear={0})
    assert np.array_equal(np.asarray(decoded_png(result["overlay"])), np.asarray(opened(expected)))
    assert decoded_png(result["mask"]).size == (300, 400)


async def test_image_png_gets_the_indexed_mask_itself(client: httpx.AsyncClient, card: ModelCard) -> None:
    response = await client.post("/v1/segment", content=image_bytes(2), headers={"Accept": "image/png"})

    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "encode;dur=" in response.headers["server-timing"]
    assert np.array_equal(np.asarray(opened(response.content)), offline(card, image_bytes(2))[0])


@pytest.mark.parametrize("query", ["overlay=true", "overlay=true&mask=none"])
async def test_image_png_with_overlay_gets_the_blended_picture(query: str, client: httpx.AsyncClient) -> None:
    in_body = (await client.post("/v1/segment?overlay=true", content=image_bytes(2))).json()["results"][0]["overlay"]

    response = await client.post(f"/v1/segment?{query}", content=image_bytes(2), headers={"Accept": "image/png"})

    assert response.content == base64.b64decode(in_body["data"])


@pytest.mark.parametrize(
    ("accept", "query", "images", "media_type"),
    [
        ("*/*", "", 1, "application/json"),
        ("application/json", "", 1, "application/json"),
        ("image/png;q=0.9, application/json;q=0.8", "", 1, "image/png"),
        ("image/png;q=0.7, application/json;q=0.8", "", 1, "application/json"),
        ("image/*", "", 1, "image/png"),
        ("image/png, application/json;q=0.1", "", 2, "application/json"),
        ("image/png, */*;q=0.1", "mask=none", 1, "application/json"),
    ],
)
async def test_accept_decides_between_json_and_png(
    accept: str, query: str, images: int, media_type: str, client: httpx.AsyncClient
) -> None:
    contents = json_body(*(image_bytes(seed) for seed in range(images)))

    response = await client.post(f"/v1/segment?{query}", json=contents, headers={"Accept": accept})

    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert response.headers["vary"] == "Accept, Accept-Language, X-Model-Version"


@pytest.mark.parametrize(
    ("accept", "query", "images"),
    [("text/html", "", 1), ("image/jpeg", "", 1), ("image/png", "", 2), ("image/png", "mask=none", 1)],
)
async def test_what_cannot_be_sent_is_refused_before_the_model_is_asked(
    accept: str, query: str, images: int, client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    contents = json_body(*(image_bytes(seed) for seed in range(images)))

    response = await client.post(f"/v1/segment?{query}", json=contents, headers={"Accept": accept})

    body = response.json()
    assert (response.status_code, body["code"]) == (406, "not_acceptable")
    assert "application/json" in body["accepted"]
    assert fake.images_for("tiny-segmenter") == 0


async def test_a_failure_is_a_problem_even_where_only_png_is_accepted(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/segment", content=CORRUPT, headers={"Accept": "image/png"})

    Problem.model_validate(response.json())
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_bad_picture_among_eight_fails_alone(client: httpx.AsyncClient, card: ModelCard) -> None:
    contents = [image_bytes(seed) for seed in range(8)]
    contents[5] = CORRUPT

    response = await client.post("/v1/segment?overlay=true", json=json_body(*contents))

    body = response.json()
    SegmentResponse.model_validate(body)
    assert response.status_code == 200
    assert body["results"][5]["error"]["code"] == "image_corrupt"
    for index in {*range(8)} - {5}:
        mask, _ = offline(card, contents[index])
        assert np.array_equal(np.asarray(decoded_png(body["results"][index]["mask"])), mask)


async def test_the_same_picture_gets_the_same_mask_in_every_shape(client: httpx.AsyncClient) -> None:
    content = image_bytes(5)
    answers = [
        await client.post("/v1/segment", content=content, headers={"Content-Type": "image/png"}),
        await client.post("/v1/segment", files={"file": content}),
        await client.post("/v1/segment", json=json_body(content)),
    ]

    results = [{**answer.json()["results"][0], "filename": None} for answer in answers]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("mask=svg", "mask"),
        ("overlay=perhaps", "overlay"),
        ("top_k=5", "top_k"),
        ("model=tiny-segmenter&model=tiny-segmenter", "model"),
    ],
)
async def test_a_parameter_that_is_wrong_or_unknown_is_named(
    query: str, parameter: str, client: httpx.AsyncClient
) -> None:
    response = await client.post(f"/v1/segment?{query}", content=image_bytes())

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert [row["parameter"] for row in response.json()["errors"]] == [parameter]


async def test_a_classifier_does_not_segment(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/segment?model=tiny-classifier", content=image_bytes())

    assert (response.status_code, response.json()["available"]) == (404, ["tiny-segmenter"])
