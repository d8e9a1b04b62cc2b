"""What Triton's client asks beside inference."""

from typing import Any

import httpx
import pytest
import tritonclient.http as triton

from service.gateway.routes.open_inference.triton import NOT_OFFERED, TYPES, statistics
from service.models.cards import ModelCard
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes
from tests.gateway.routes.open_inference.test_v2 import CLASSIFIER, SEGMENTER, gateway, is_ready, talk, tensor

__all__ = ["gateway"]

pytestmark = pytest.mark.anyio


async def test_the_index_lists_the_models_and_their_states(
    gateway: httpx.AsyncClient,
    fake: FakeTorchServe,
    served: dict[str, ModelCard],
) -> None:
    before = await talk(gateway, lambda client: client.get_model_repository_index())
    fake.workers[CLASSIFIER] = []

    async def is_unavailable() -> bool:
        return not (await gateway.get(f"/v2/models/{CLASSIFIER}/ready")).is_success

    await until(is_unavailable)
    after = await talk(gateway, lambda client: client.get_model_repository_index())
    ready = (await gateway.post("/v2/repository/index", json={"ready": True})).json()

    assert {row["name"]: row["state"] for row in before} == dict.fromkeys(served, "READY")
    assert [row for row in after if row["name"] == CLASSIFIER] == [
        {"name": CLASSIFIER, "version": "1.0", "state": "UNAVAILABLE", "reason": "unavailable"}
    ]
    assert CLASSIFIER not in {row["name"] for row in ready}
    assert await is_ready(gateway)


@pytest.mark.parametrize("model", [CLASSIFIER, SEGMENTER, "tiny-detector"])
async def test_the_configuration_has_the_tensors_of_the_metadata(gateway: httpx.AsyncClient, model: str) -> None:
    def ask(client: triton.InferenceServerClient) -> Any:
        return client.get_model_config(model), client.get_model_metadata(model)

    config, metadata = await talk(gateway, ask)
    for ours, theirs in (("inputs", "input"), ("outputs", "output")):
        assert [(each["name"], each["dims"]) for each in config[theirs]] == [
            (each["name"], each["shape"]) for each in metadata[ours]
        ]
        assert [TYPES[each["datatype"]] for each in metadata[ours]] == [each["data_type"] for each in config[theirs]]
    assert config["input"][0]["data_type"] == "TYPE_STRING"


async def test_the_statistics_count_what_was_answered_and_what_failed(gateway: httpx.AsyncClient) -> None:
    await talk(gateway, lambda client: client.infer(CLASSIFIER, [tensor(image_bytes(), image_bytes(2))]))
    await gateway.post("/v1/classify", content=CORRUPT)

    def ask(client: triton.InferenceServerClient) -> Any:
        return client.get_inference_statistics(CLASSIFIER), client.get_inference_statistics()

    one, every = await talk(gateway, ask)
    (row,) = one["model_stats"]
    assert (row["name"], row["version"], row["inference_count"]) == (CLASSIFIER, "1.0", 2)
    assert row["inference_stats"]["compute_infer"]["count"] == 2
    assert row["inference_stats"]["compute_infer"]["ns"] > 0
    assert row["inference_stats"]["fail"]["count"] == 1
    assert {each["name"] for each in every["model_stats"]} >= {CLASSIFIER, SEGMENTER}


def test_a_model_without_metrics_has_zeros(served: dict[str, ModelCard]) -> None:
    (row,) = statistics("", [served[CLASSIFIER]])
    assert row["inference_stats"]["success"] == {"count": 0, "ns": 0}


async def test_an_unknown_model_has_neither(gateway: httpx.AsyncClient) -> None:
    for path in ("config", "stats", "versions/9/config"):
        response = await gateway.get(f"/v2/models/nobody/{path}")
        assert (response.status_code, response.json()["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("template", NOT_OFFERED)
async def test_what_is_not_offered_is_refused_with_the_alternative(client: httpx.AsyncClient, template: str) -> None:
    path = template
    for name, value in {"{name}": CLASSIFIER, "{rest:path}": "region/x/register", "{method}": "predict"}.items():
        path = path.replace(name, value)
    response = await client.post(path)
    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")
    assert response.json()["detail"] == NOT_OFFERED[template]
