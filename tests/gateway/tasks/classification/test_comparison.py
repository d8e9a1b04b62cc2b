"""`POST /v1/classify` with several models, whose answers are compared."""

import httpx
import pytest

from service.models.cards import ModelCard
from service.tasks.classification.schema import ClassifyResponse, CompareResponse
from tests.gateway.fixtures.fake_outputs import offline_scores
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes, json_body

pytestmark = pytest.mark.anyio


async def test_a_repeated_model_gives_a_block_for_each(client: httpx.AsyncClient, served: dict[str, ModelCard]) -> None:
    names = ["tiny-classifier-b", "tiny-classifier"]

    response = await client.post(
        "/v1/classify", params={"model": names, "top_k": 7}, json=json_body(image_bytes(1), image_bytes(2))
    )

    body = response.json()
    CompareResponse.model_validate(body)
    assert [model["name"] for model in body["models"]] == names
    for row, content in zip(body["results"], (image_bytes(1), image_bytes(2)), strict=True):
        assert [block["model"]["name"] for block in row["models"]] == names
        for block in row["models"]:
            scores = offline_scores(served[block["model"]["name"]], content)
            assert {each["class_id"]: each["score"] for each in block["predictions"]} == dict(enumerate(scores))


async def test_the_same_model_named_twice_is_one_model(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify?model=tiny-classifier&model=tiny-classifier", content=image_bytes())

    ClassifyResponse.model_validate(response.json())


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("classify", "Repeat the parameter for several models, as in model=a&model=b."),
        ("detect", "Repeat the parameter for several models, as in model=a&model=b."),
        ("segment", "This endpoint takes one model."),
        ("embed", "This endpoint takes one model."),
    ],
)
async def test_who_joins_names_by_a_comma_is_told_how_to_name_models(
    client: httpx.AsyncClient, path: str, told: str
) -> None:
    response = await client.post(f"/v1/{path}?model=tiny-a,tiny-b", content=image_bytes())

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert response.json()["detail"] == f"model: A name has no comma. {told}"


async def test_a_model_that_fails_leaves_the_other_models_answers(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.by_model["tiny-classifier-b"] = "queue_full"
    query = "model=tiny-classifier&model=tiny-classifier-b"

    response = await client.post(f"/v1/classify?{query}", content=image_bytes())

    body = response.json()
    CompareResponse.model_validate(body)
    first, second = body["results"][0]["models"]
    assert response.status_code == 200
    assert len(first["predictions"]) == 5
    assert second["error"]["code"] == "overloaded"


async def test_a_picture_that_all_models_fail_on_is_the_responses_own_status(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.behaviour = "queue_full"

    response = await client.post("/v1/classify?model=tiny-classifier&model=tiny-classifier-b", content=image_bytes())

    assert (response.status_code, response.json()["code"]) == (503, "overloaded")


async def test_a_picture_that_is_none_fails_once_and_not_for_each_model(client: httpx.AsyncClient) -> None:
    query = "model=tiny-classifier&model=tiny-classifier-b"

    response = await client.post(f"/v1/classify?{query}", json=json_body(image_bytes(), CORRUPT))

    body = response.json()
    CompareResponse.model_validate(body)
    assert body["results"][1]["error"]["code"] == "image_corrupt"
