"""Clients of Triton and KServe, with all that they send by themselves or on request."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from service.models.cards import ModelCard
from tests.gateway.fixtures.fake_outputs import offline_scores
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.routes.open_inference.test_v2 import CLASSIFIER, gateway, talk, tensor

__all__ = ["gateway"]

pytestmark = pytest.mark.anyio

INFER = f"/v2/models/{CLASSIFIER}/infer"
PICTURE = image_bytes()


def shared_output() -> triton.InferRequestedOutput:
    output = triton.InferRequestedOutput("scores")
    output.set_shared_memory("region", 64)
    return output


def shared_input() -> triton.InferInput:
    made = triton.InferInput("image", [1], "BYTES")
    made.set_shared_memory("region", 64)
    return made


# What each caller asks for, and the words that the refusal has.
REFUSED: dict[str, tuple[Callable[[triton.InferenceServerClient], Any], str]] = {
    "a timeout in microseconds": (
        lambda client: client.infer(CLASSIFIER, [tensor(PICTURE)], timeout=1), "Request-Timeout"),
    "a priority": (lambda client: client.infer(CLASSIFIER, [tensor(PICTURE)], priority=1), "Priority"),
    "an output in shared memory": (
        lambda client: client.infer(CLASSIFIER, [tensor(PICTURE)], outputs=[shared_output()]), "Shared memory is not"),
    "an input in shared memory": (lambda client: client.infer(CLASSIFIER, [shared_input()]), "Shared memory is not"),
    "a sequence": (
        lambda client: client.infer(CLASSIFIER, [tensor(PICTURE)], sequence_id=7, sequence_start=True), "Sequences"),
    "a region of shared memory": (
        lambda client: client.register_system_shared_memory("region", "/region", 64), "Shared memory is not"),
    "to unload a model": (lambda client: client.unload_model(CLASSIFIER), "models reload"),
    "to load a model": (lambda client: client.load_model("another"), "models reload"),
    "to trace": (lambda client: client.get_trace_settings(), "operator"),
    "to change the log": (lambda client: client.update_log_settings({"log_verbose_level": 1}), "operator"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_asked_and_not_done_is_refused_in_words(gateway: httpx.AsyncClient, case: str) -> None:
    ask, words = REFUSED[case]
    with pytest.raises(InferenceServerException, match=words):
        await talk(gateway, ask)


@pytest.mark.parametrize(
    ("part", "name"), [("request", "classification"), ("request", "binary_data"), ("outputs", "binary_data_output")]
)
async def test_a_parameter_in_another_part_is_refused_with_its_place(
    client: httpx.AsyncClient, part: str, name: str
) -> None:
    body: dict[str, Any] = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["AA=="]}]}
    if part == "request":
        body["parameters"] = {name: 1}
    else:
        body["outputs"] = [{"name": "scores", "parameters": {name: 1}}]
    response = await client.post(INFER, json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert "It belongs in" in response.json()["detail"]


async def test_a_parameter_that_changes_nothing_is_ignored(gateway: httpx.AsyncClient) -> None:
    await talk(gateway, lambda client: client.infer(CLASSIFIER, [tensor(PICTURE)], parameters={"my_tag": "a"}))


@pytest.mark.parametrize("media_type", ["application/octet-stream", "image/png", None])
async def test_a_raw_binary_request_is_one_image(
    client: httpx.AsyncClient, served: dict[str, ModelCard], media_type: str | None
) -> None:
    headers = {"Inference-Header-Content-Length": "0"} | ({"Content-Type": media_type} if media_type else {})
    response = await client.post(INFER, content=PICTURE, headers=headers)
    (output,) = response.json()["outputs"]
    assert output["shape"][0] == 1
    assert np.allclose(output["data"], offline_scores(served[CLASSIFIER], PICTURE), atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no image"])
async def test_a_raw_binary_request_without_an_image_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post(INFER, content=content, headers={"Inference-Header-Content-Length": "0"})
    assert response.json()["code"] in {"empty_body", "unsupported_media_type"}


@pytest.mark.parametrize("method", ["predict", "explain"])
async def test_kserves_first_protocol_is_pointed_to_the_second(client: httpx.AsyncClient, method: str) -> None:
    response = await client.post(f"/v1/models/{CLASSIFIER}:{method}", json={"instances": [1]})
    assert response.status_code == 404
    assert "/v2/models/{name}/infer" in response.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"parameters": {"top_k": 1}}, "parameters.top_k"),
        ({"parameters": {"min_score": 0.5}}, "parameters.min_score"),
        ({"outputs": [{"name": "scores", "parameters": {"top_k": 1}}]}, "outputs.parameters.top_k"),
        ({"model": "another"}, "model"),
        ({"timeout": 1}, "timeout"),
        ({"model_version": "9.0"}, "model_version"),
        ({"model_name": "another"}, "model_name"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_a_parameter_of_another_route_or_place_is_refused_by_name(
    client: httpx.AsyncClient, changes: dict[str, Any], parameter: str
) -> None:
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["AA=="]}
    response = await client.post(INFER, json={"inputs": [image], **changes})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert [each["parameter"] for each in response.json()["errors"]] == [parameter]


@pytest.mark.parametrize("query", ["top_k=1", "model=another", "timeout=1&timeout=2"])
async def test_a_parameter_in_the_url_is_refused(client: httpx.AsyncClient, query: str) -> None:
    headers = {"Inference-Header-Content-Length": "0"}
    response = await client.post(f"{INFER}?{query}", content=PICTURE, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]
