"""The routes that take images."""

import asyncio

import httpx
import pytest
from fastapi.routing import APIRoute

from service.gateway.routes.images import image_routes, router_of
from service.models.cards import ModelCard
from service.tasks import TASKS
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

ENDPOINTS = [endpoint for task in TASKS.values() for endpoint in task.endpoints]


def test_every_endpoint_of_every_task_has_a_route() -> None:
    paths = {"/v1/classify", "/v1/detect", "/v1/embed", "/v1/explain", "/v1/segment"}

    assert {route.endpoint.path for route in image_routes()} == paths
    assert len(image_routes()) == len(paths)


def test_fastapi_describes_each_endpoint() -> None:
    described = [route for route in router_of(image_routes()).routes if isinstance(route, APIRoute)]

    assert [(each.path, each.name, each.summary) for each in described] == [
        (endpoint.path, endpoint.name, endpoint.summary) for endpoint in ENDPOINTS
    ]
    assert all(each.methods == {"POST"} for each in described)


@pytest.mark.parametrize("path", [endpoint.path for endpoint in ENDPOINTS])
async def test_a_route_answers_with_the_default_model_of_its_task(
    path: str, client: httpx.AsyncClient, served: dict[str, ModelCard]
) -> None:
    document = (await client.post(path, content=image_bytes())).json()

    (task,) = [task for task in TASKS.values() if path in {endpoint.path for endpoint in task.endpoints}]
    assert document["model"]["task"] == task.name
    assert served[document["model"]["name"]].task == task.name
    assert len(document["results"]) == 1


async def test_only_responses_with_labels_name_a_language(client: httpx.AsyncClient) -> None:
    headers = {"Accept-Language": "de"}
    answers = [await client.post(endpoint.path, content=image_bytes(), headers=headers) for endpoint in ENDPOINTS]

    assert [answer.status_code for answer in answers] == [200] * len(ENDPOINTS)
    for endpoint, answer in zip(ENDPOINTS, answers, strict=True):
        assert ("content-language" in answer.headers) == endpoint.has_labels


async def test_a_file_without_labels_names_no_language(client: httpx.AsyncClient) -> None:
    headers = {"Accept-Language": "de", "Accept": "image/png"}
    answer = await client.post("/v1/segment", content=image_bytes(), headers=headers)

    assert answer.headers["content-type"] == "image/png"
    assert "content-language" not in answer.headers


async def test_each_image_of_a_request_gets_the_result_that_it_gets_alone(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    contents = [image_bytes(seed) for seed in range(4)]
    together = await client.post("/v1/segment", files=[("file", each) for each in contents])
    alone = await asyncio.gather(*(client.post("/v1/segment", content=each) for each in contents))

    for index, (result, other) in enumerate(zip(together.json()["results"], alone, strict=True)):
        assert result == {**other.json()["results"][0], "index": index, "filename": result["filename"]}
    assert fake.images_for("tiny-segmenter") == 2 * len(contents)
