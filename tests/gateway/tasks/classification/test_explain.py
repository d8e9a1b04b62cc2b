"""`POST /v1/explain`."""

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from service.models.cards import ModelCard
from service.tasks.classification.explain import attention
from service.tasks.classification.schema import ExplainResponse
from tests.gateway.conftest import Running
from tests.gateway.fixtures.images import CORRUPT, image_bytes, rotated_jpeg

pytestmark = pytest.mark.anyio


async def test_the_best_class_is_explained_with_its_score_map_and_overlay(client: httpx.AsyncClient) -> None:
    content = rotated_jpeg((400, 300))
    best = (await client.post("/v1/classify?top_k=1", content=content)).json()["results"][0]["predictions"][0]

    response = await client.post("/v1/explain", content=content)

    ExplainResponse.model_validate(response.json())
    (result,) = response.json()["results"]
    (row,) = result["explanations"]
    assert {name: row[name] for name in best} == best
    assert np.array(row["map"]).shape == (2, 2)
    overlay = Image.open(io.BytesIO(base64.b64decode(row["overlay"]["data"])))
    assert overlay.size == (300, 400) == (row["overlay"]["width"], row["overlay"]["height"])
    left, top, width, height = result["seen"]
    assert (width, height) == (200, 200)
    assert (left, top) == (50, 100)
    assert [(each["stage"], each["block"]) for each in result["attention"]] == [(1, 1), (1, 2), (2, 1)]


async def test_classes_are_explained_as_named_and_top_k_otherwise(client: httpx.AsyncClient) -> None:
    named = await client.post("/v1/explain?classes=rose&classes=1&overlay=false", content=image_bytes())
    best = await client.post("/v1/explain?top_k=3&overlay=false", content=image_bytes())

    assert [row["label"] for row in named.json()["results"][0]["explanations"]] == ["rose", "dog"]
    rows = best.json()["results"][0]["explanations"]
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert len(rows) == 3
    assert "overlay" not in rows[0]


@pytest.mark.parametrize("kind", ["png", "webp"])
async def test_one_pictures_overlay_can_be_had_by_itself(kind: str, client: httpx.AsyncClient) -> None:
    query = f"/v1/explain?overlay={kind}"
    in_json = (await client.post(query, content=image_bytes())).json()["results"][0]["explanations"][0]["overlay"]

    alone = await client.post(query, content=image_bytes(), headers={"Accept": f"image/{kind}"})

    assert alone.headers["content-type"] == f"image/{kind}"
    assert alone.content == base64.b64decode(in_json["data"])


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("top_k=0", "top_k"), ("top_k=8", "top_k"), ("classes=unicorn", "classes"), ("overlay=gif", "overlay")],
)
async def test_what_cannot_be_explained_is_refused(query: str, parameter: str, client: httpx.AsyncClient) -> None:
    response = await client.post(f"/v1/explain?{query}", content=image_bytes())

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert [row["parameter"] for row in response.json()["errors"]] == [parameter]


async def test_a_picture_that_fails_leaves_its_neighbours_explained(running: Running) -> None:
    async with running() as client:
        response = await client.post("/v1/explain", files=[("file", CORRUPT), ("file", image_bytes())])

    failed, answered = response.json()["results"]
    assert failed["error"]["code"] == "image_corrupt"
    assert answered["explanations"]


async def test_a_segmenter_is_not_explained(client: httpx.AsyncClient, served: dict[str, ModelCard]) -> None:
    response = await client.post("/v1/explain?model=tiny-segmenter", content=image_bytes())

    assert response.status_code == 404
    assert "tiny-segmenter" in served


def test_a_network_without_split_attention_has_none_to_tell() -> None:
    assert attention({"scores": np.ones(1)}) == []
