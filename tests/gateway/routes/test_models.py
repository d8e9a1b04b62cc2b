"""`/v1/models`: the descriptions of the models."""

import httpx
import pytest

from service.config.settings import Settings
from service.gateway.routes.schemas import ModelDetail, ModelList
from service.imaging import decoder
from service.models.cards import ModelCard
from service.models.identity import identity
from tests.gateway.conftest import Running, app_of, settled
from tests.gateway.fixtures.fake_outputs import WORKER_BYTES
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.anyio


async def test_the_models_are_listed_with_their_state_and_the_default_of_each_task(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.workers["tiny-classifier-b"] = []
    await settled(app_of(client))

    body = (await client.get("/v1/models")).json()

    ModelList.model_validate(body)
    assert [(row["name"], row["task"], row["state"], row["default"]) for row in body["models"]] == [
        ("tiny-classifier", "classification", "ready", True),
        ("tiny-classifier-b", "classification", "unavailable", False),
        ("tiny-detector", "detection", "ready", True),
        ("tiny-segmenter", "segmentation", "ready", True),
    ]


async def test_a_model_tells_its_labels_colours_input_and_limits(
    client: httpx.AsyncClient, served: dict[str, ModelCard], settings: Settings
) -> None:
    body = (await client.get("/v1/models/tiny-segmenter")).json()

    ModelDetail.model_validate(body)
    assert body["labels"] == [
        {"class_id": label.class_id, "label": label.label, "color": label.hex_color}
        for label in served["tiny-segmenter"].classes
    ]
    assert body["input"] == {"profile": "proportional", "size": 64}
    assert body["limits"]["max_upload_bytes"] == settings.max_upload_bytes
    assert body["formats"] == decoder.accepted_formats()
    assert body["identity"] == identity(served["tiny-segmenter"])
    assert str(served["tiny-segmenter"].folder) not in str(body)


async def test_a_segmenter_tells_what_its_best_mask_takes_and_a_classifier_that_it_has_none(
    client: httpx.AsyncClient,
) -> None:
    segmenter, classifier = [
        (await client.get(f"/v1/models/{name}")).json() for name in ("tiny-segmenter", "tiny-classifier")
    ]

    assert segmenter["best"]["scales"] == [0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert segmenter["best"]["deadline_s"] == 100
    assert segmenter["best"]["cost"] > 10
    assert "best" not in classifier


async def test_a_model_tells_the_memory_of_its_weights_and_of_its_worker(
    client: httpx.AsyncClient, fake: FakeTorchServe, served: dict[str, ModelCard]
) -> None:
    """The store of the tests has no weight files."""
    body = (await client.get("/v1/models/tiny-classifier")).json()

    assert body["memory"] == {"weights_bytes": None, "worker_bytes": WORKER_BYTES}


async def test_a_classifiers_labels_have_no_colours(client: httpx.AsyncClient) -> None:
    body = (await client.get("/v1/models/tiny-classifier")).json()

    assert body["labels"][0] == {"class_id": 0, "label": "cat"}


async def test_a_model_that_is_not_served_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/models/nobody")

    assert (response.status_code, response.json()["code"]) == (404, "model_not_found")
    assert response.json()["available"] == ["tiny-classifier", "tiny-classifier-b", "tiny-detector", "tiny-segmenter"]


async def test_only_the_models_that_the_settings_name_are_served_in_their_order(running: Running) -> None:
    async with running(models=("tiny-classifier-b", "tiny-classifier")) as client:
        names = [row["name"] for row in (await client.get("/v1/models")).json()["models"]]
        refused = await client.post("/v1/segment", content=b"x")
        default = (await client.get("/v1/models/tiny-classifier-b")).json()["default"]

    assert names == ["tiny-classifier-b", "tiny-classifier"]
    assert default
    assert (refused.status_code, refused.json()["code"], refused.json()["available"]) == (404, "model_not_found", [])
