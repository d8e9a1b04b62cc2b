"""The Open Inference Protocol, with Triton's own client and with plain JSON requests."""

import asyncio
import base64
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from service.config.api_keys import digest
from service.gateway.access.callers import HOW_TO_SEND
from service.models.cards import ModelCard
from tests.gateway.conftest import Running, until
from tests.gateway.fixtures.fake_outputs import offline_scores
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes
from tests.gateway.routes.open_inference.test_v2_tensors import INFER, base64s, one

pytestmark = pytest.mark.anyio

CLASSIFIER, SEGMENTER = "tiny-classifier", "tiny-segmenter"

Talk = Callable[[triton.InferenceServerClient], Any]


@pytest.fixture
async def gateway(listening: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway behind a real socket, whose models have answered their probes."""
    async with listening(readiness_interval_s=0.05) as client:
        await until(functools.partial(is_ready, client), 30)
        yield client


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).is_success


async def talk(client: httpx.AsyncClient, what: Talk) -> Any:
    """Return what `what` returns. It gets Triton's client, which blocks, in a thread."""

    def run() -> Any:
        with triton.InferenceServerClient(f"{client.base_url.host}:{client.base_url.port}") as triton_client:
            return what(triton_client)

    return await asyncio.to_thread(run)


def tensor(*contents: bytes, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput("image", [len(contents)], "BYTES")
    elements = contents if binary else [base64.b64encode(content) for content in contents]
    made.set_data_from_numpy(np.array(elements, dtype=np.object_), binary_data=binary)
    return made


async def test_tritons_client_finds_the_server_live_and_ready_and_described(
    gateway: httpx.AsyncClient, served: dict[str, ModelCard]
) -> None:
    def ask(client: triton.InferenceServerClient) -> Any:
        states = [client.is_server_live(), client.is_server_ready()]
        states += [client.is_model_ready(name) for name in served]
        states += [client.is_model_ready(CLASSIFIER, "1.0"), client.is_model_ready("nobody")]
        return states, client.get_server_metadata(), client.get_model_metadata(SEGMENTER)

    states, server, model = await talk(gateway, ask)

    assert states == [True] * (3 + len(served)) + [False]
    assert server["name"] == "resnest-service"
    assert {"binary_tensor_data", "classification", "model_configuration", "statistics"} <= {*server["extensions"]}
    assert model == {
        "name": SEGMENTER,
        "versions": [served[SEGMENTER].version],
        "platform": "pytorch",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "mask", "datatype": "UINT8", "shape": [-1, -1, -1]},
            {"name": "class_scores", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }


async def test_a_model_that_is_not_ready_is_told(gateway: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    fake.workers[CLASSIFIER] = []

    async def states() -> tuple[bool, bool, bool]:
        found = await talk(
            gateway,
            lambda client: (
                client.is_server_ready(),
                client.is_model_ready(CLASSIFIER),
                client.is_model_ready(SEGMENTER),
            ),
        )
        return tuple(found)

    async def is_unready() -> bool:
        return await states() == (True, False, True)

    await until(is_unready, 60)


@pytest.mark.parametrize("binary_in", [True, False], ids=["bytes in", "JSON in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["bytes out", "JSON out"])
async def test_tritons_client_is_answered_as_the_model_answers(
    binary_in: bool,  # noqa: FBT001
    binary_out: bool,  # noqa: FBT001
    gateway: httpx.AsyncClient,
    served: dict[str, ModelCard],
) -> None:
    contents = [image_bytes(seed) for seed in range(3)]
    wanted = [triton.InferRequestedOutput("scores", binary_data=binary_out)]

    result = await talk(
        gateway,
        lambda client: client.infer(
            CLASSIFIER, [tensor(*contents, binary=binary_in)], outputs=wanted, request_id="mine"
        ),
    )

    scores = result.as_numpy("scores")
    assert scores.dtype == np.float32
    assert [row.tolist() for row in scores] == [
        pytest.approx(offline_scores(served[CLASSIFIER], content), abs=1e-6) for content in contents
    ]
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["model_version"] == "1.0"


async def test_all_outputs_come_where_none_is_named(gateway: httpx.AsyncClient, served: dict[str, ModelCard]) -> None:
    result = await talk(gateway, lambda client: client.infer(SEGMENTER, [tensor(image_bytes(1), image_bytes(2))]))

    mask, scores = result.as_numpy("mask"), result.as_numpy("class_scores")
    assert (mask.dtype, scores.dtype) == (np.uint8, np.float32)
    assert mask.shape[0] == scores.shape[0] == 2
    assert mask.max() < served[SEGMENTER].network.classes


@pytest.mark.parametrize("binary", [True, False])
async def test_the_best_classes_come_by_name_where_they_are_asked_for(
    binary: bool,  # noqa: FBT001
    gateway: httpx.AsyncClient,
    served: dict[str, ModelCard],
) -> None:
    wanted = [triton.InferRequestedOutput("scores", binary_data=binary, class_count=2)]

    result = await talk(gateway, lambda client: client.infer(CLASSIFIER, [tensor(image_bytes())], outputs=wanted))

    scores = offline_scores(served[CLASSIFIER], image_bytes())
    best = sorted(range(len(scores)), key=lambda class_id: -scores[class_id])[:2]
    texts = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("scores")[0]]
    labels = [label.label for label in served[CLASSIFIER].classes]
    assert [text.split(":")[1:] for text in texts] == [[str(class_id), labels[class_id]] for class_id in best]
    assert [float(text.split(":")[0]) for text in texts] == pytest.approx([scores[each] for each in best], abs=1e-5)


async def test_a_picture_that_cannot_be_read_fails_the_request_with_its_place(gateway: httpx.AsyncClient) -> None:
    with pytest.raises(InferenceServerException) as raised:
        await talk(gateway, lambda client: client.infer(CLASSIFIER, [tensor(image_bytes(), CORRUPT)]))

    assert raised.value.status() == "422"
    body = {"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": base64s(image_bytes(), CORRUPT)}]}
    problem = (await gateway.post(INFER, json=body)).json()
    assert (problem["code"], problem["index"], problem["error"]) == ("image_corrupt", 1, problem["detail"])
    assert raised.value.message() == problem["detail"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/models/nobody", 404, "model_not_found"),
        ("/v2/models/nobody/ready", 404, "model_not_found"),
        (f"/v2/models/{CLASSIFIER}/versions/9", 404, "model_not_found"),
        (f"/v2/models/{CLASSIFIER}/versions/9/ready", 404, "model_not_found"),
        ("/v2/nowhere", 404, "route_not_found"),
        (INFER, 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_is_a_problem_that_these_clients_can_read(
    path: str, status: int, code: str, client: httpx.AsyncClient
) -> None:
    response = await client.get(path)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["error"] == response.json()["detail"]


async def test_masks_of_several_shapes_are_not_one_tensor(client: httpx.AsyncClient) -> None:
    contents = base64s(image_bytes(1, size=(200, 100)), image_bytes(2, size=(100, 200)))
    body = one(shape=[2], data=contents)

    response = await client.post(f"/v2/models/{SEGMENTER}/infer", json=body)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    scores = {**body, "outputs": [{"name": "class_scores"}]}
    assert (await client.post(f"/v2/models/{SEGMENTER}/infer", json=scores)).status_code == 200


async def test_the_deadline_of_the_request_holds_here_too(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    fake.behaviour = "slow"

    response = await client.post(INFER, json=one(), headers={"Request-Timeout": "0.2"})

    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    ("limits", "key", "status"),
    [
        ({}, "", 401),
        ({}, "guess", 401),
        ({"caller_rate": 0.001, "caller_burst": 1}, "secret", 429),
        ({"max_upload_bytes": 10}, "secret", 413),
    ],
    ids=["no key", "no good key", "too often", "too large"],
)
async def test_tritons_client_tells_what_a_request_was_refused_for(
    limits: dict[str, Any], key: str, status: int, listening: Running
) -> None:
    def ask(client: triton.InferenceServerClient) -> None:
        for _ in range(2):
            client.infer(CLASSIFIER, [tensor(image_bytes())], headers={"X-API-Key": key})

    async with listening(keys=f"web classify {digest('secret')}", **limits) as gateway:
        with pytest.raises(InferenceServerException) as raised:
            await talk(gateway, ask)
        refused = await gateway.post(INFER, json=one(), headers={"X-API-Key": key})

    problem = refused.json()
    assert (refused.status_code, problem["status"]) == (status, status)
    assert refused.headers["content-type"] == "application/problem+json"
    assert problem["error"] == problem["detail"]
    assert raised.value.status() == str(status)
    assert raised.value.message() == problem["error"]


async def test_a_key_opens_the_models_of_its_scope(running: Running) -> None:
    async with running(keys=f"web classify {digest('secret')}") as client:
        headers = {"Authorization": "Bearer secret"}
        answers = [
            await client.post(f"/v2/models/{name}/infer", json=one(), headers=headers)
            for name in (CLASSIFIER, SEGMENTER)
        ]
        anonymous = await client.post(INFER, json=one())
        open_to_all = [await client.get(path) for path in ("/v2/health/live", "/v2/health/ready")]

    assert [answer.status_code for answer in answers] == [200, 403]
    assert [answer.json()["error"] for answer in (answers[1], anonymous)] == [
        "This model needs a key with the scope segment.",
        f"The request has no key. {HOW_TO_SEND}",
    ]
    assert answers[1].json()["required_scope"] == "segment"
    assert anonymous.status_code == 401
    assert [answer.status_code for answer in open_to_all] == [200, 200]
