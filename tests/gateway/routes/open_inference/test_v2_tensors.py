"""Bodies of the Open Inference Protocol: valid and invalid requests, and how outputs are encoded."""

import base64
import struct
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from service.errors import InvalidParameter
from service.gateway.routes.open_inference.v2_tensors import (
    HEAD_LENGTH,
    MAX_JSON_NUMBERS,
    RequestedOutput,
    encode_outputs,
    top_classes,
)
from service.tasks.frame import Array
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

INFER = "/v2/models/tiny-classifier/infer"
LABELS = ("cat", "dog", "rose")


def base64s(*contents: bytes) -> list[str]:
    return [base64.b64encode(content).decode() for content in contents]


ONE = {"name": "image", "shape": [1], "datatype": "BYTES"}


def one(**changes: Any) -> dict[str, Any]:
    """A request with one image, changed by `changes`."""
    return {"inputs": [{**ONE, "data": base64s(image_bytes()), **changes}]}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "malformed_json"),
        ({"inputs": []}, 400, "malformed_json"),
        ({"inputs": [ONE, ONE]}, 400, "malformed_json"),
        (one(shape="1"), 400, "malformed_json"),
        (one(shape=[2]), 422, "invalid_parameter"),
        (one(shape=[-1]), 422, "invalid_parameter"),
        (one(shape=[-1, -1]), 422, "invalid_parameter"),
        (one(shape=[33]), 413, "too_many_images"),
        (one(shape=[2**62, 2**62]), 413, "too_many_images"),
        (one(shape=[0], data=[]), 400, "empty_body"),
        (one(name="photo"), 422, "invalid_parameter"),
        (one(datatype="FP32"), 422, "invalid_parameter"),
        (one(data=None), 422, "invalid_parameter"),
        (one(data=["not base64!"]), 400, "invalid_base64"),
        (one(data=[[base64s(image_bytes())]]), 400, "malformed_json"),
        (one(parameters={"binary_data_size": 5}), 422, "invalid_parameter"),
        (one(parameters={"binary_data_size": -5}), 400, "malformed_json"),
        ({**one(), "outputs": [{"name": "mask"}]}, 422, "invalid_parameter"),
        ({**one(), "outputs": [{"name": "scores", "parameters": {"classification": -1}}]}, 400, "malformed_json"),
    ],
)
async def test_a_request_that_breaks_the_protocol_is_a_problem(
    body: dict[str, Any], status: int, code: str, client: httpx.AsyncClient
) -> None:
    response = await client.post(INFER, json=body)

    assert (response.status_code, response.json()["code"]) == (status, code), response.text


@pytest.mark.parametrize(
    ("model", "changes", "named", "meant"),
    [
        ("tiny-detector", {"parameters": {"min_scores": 0.9}}, "parameters.min_scores", "min_score"),
        ("tiny-detector", {"parameters": {"maxDetections": 1}}, "parameters.maxDetections", "max_detections"),
        ("tiny-classifier", {"parameters": {"binary_output": True}}, "parameters.binary_output", "binary_data_output"),
        ("tiny-classifier", {"output": [{"name": "scores"}]}, "output", "outputs"),
        (
            "tiny-classifier",
            {"outputs": [{"name": "scores", "parameters": {"classifications": 2}}]},
            "outputs.parameters.classifications",
            "classification",
        ),
    ],
)
async def test_a_misspelt_name_is_refused_because_it_would_have_no_effect(
    client: httpx.AsyncClient, model: str, changes: dict[str, Any], named: str, meant: str
) -> None:
    response = await client.post(f"/v2/models/{model}/infer", json={**one(), **changes})

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter"), response.text
    (row,) = response.json()["errors"]
    assert (row["parameter"], f"Did you mean {meant}?" in row["detail"]) == (named, True)


async def test_parameters_of_other_servers_that_change_nothing_here_are_ignored(client: httpx.AsyncClient) -> None:
    others = {"content_type": "b64", "triton_enable_empty_final_response": True, "customer": "7"}

    response = await client.post(INFER, json={**one(), "parameters": others})

    assert response.status_code == 200, response.text


async def test_one_column_of_pictures_is_pictures(client: httpx.AsyncClient) -> None:
    rows = [[each] for each in base64s(image_bytes(1), image_bytes(2))]

    response = await client.post(INFER, json=one(shape=[2, 1], data=rows))

    assert response.json()["outputs"][0]["shape"] == [2, 7]


@pytest.mark.parametrize(
    ("tail", "size", "length", "status", "code"),
    [
        (b"", 0, None, 422, "invalid_parameter"),
        (struct.pack("<I", 9) + b"short", 9, None, 422, "invalid_parameter"),
        (struct.pack("<I", 2**32 - 1) + b"x", 5, None, 422, "invalid_parameter"),
        (b"\x01\x00", 2, None, 422, "invalid_parameter"),
        (b"", 0, "9999999", 400, "invalid_header"),
        (b"", 0, "-1", 400, "invalid_header"),
        (b"", 0, "9" * 5000, 400, "invalid_header"),
        (b"", 0, "٣", 400, "invalid_header"),
    ],
)
async def test_bytes_that_are_not_those_of_the_head_are_a_problem(
    tail: bytes, size: int, length: str | None, status: int, code: str, client: httpx.AsyncClient
) -> None:
    head = httpx.Request(
        "POST", "http://x", json={"inputs": [{**ONE, "parameters": {"binary_data_size": size}}]}
    ).read()

    declared = (length or str(len(head))).encode()
    response = await client.post(INFER, content=head + tail, headers=[(HEAD_LENGTH.encode(), declared)])

    assert (response.status_code, response.json()["code"]) == (status, code), response.text


async def test_a_head_of_many_brackets_is_refused_before_it_is_parsed(client: httpx.AsyncClient) -> None:
    response = await client.post(INFER, content=b'{"inputs": [' + b"[" * 1_000_000)

    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (image_bytes(), "The body is an image, not JSON. Send it with the header Inference-Header-Content-Length: 0."),
        (b'{"images": []}', 'inputs: It is missing. Send `{"inputs": [{"name": "image", '),
        (orjson.dumps(one(data=[1])), " inputs.0.data.0: It must be text."),
        (b"\x8f" + b"[{,{" * 200, "It is not JSON"),
        (b"", 'The request has no body. Send `{"inputs": [{"name": "image", '),
    ],
)
async def test_a_body_that_is_no_request_is_told_what_to_send_here(
    content: bytes, words: str, client: httpx.AsyncClient
) -> None:
    problem = (await client.post(INFER, content=content)).json()

    assert words in problem["detail"]
    assert '{"images"' not in problem["detail"]
    assert len({row["parameter"] for row in problem.get("errors", [])}) == len(problem.get("errors", []))


def test_the_best_classes_are_told_by_score_and_then_by_class() -> None:
    scores = np.array([[0.25, 0.5, 0.25], [0.0, 0.0, 1.0]], np.float32)

    assert top_classes(scores, LABELS, 2) == [
        [b"0.500000:1:dog", b"0.250000:0:cat"],
        [b"1.000000:2:rose", b"0.000000:0:cat"],
    ]
    assert len(top_classes(scores, LABELS, 9)[0]) == 3


def test_an_answer_of_lists_has_no_bytes_behind_it() -> None:
    scores = np.array([[0.25, 0.5, 0.25]], np.float32)

    body, length = encode_outputs(
        [RequestedOutput("scores", binary=False, classes=0)], {"scores": scores}, LABELS, {"id": "a"}, {"scores"}
    )

    assert length is None
    assert orjson.loads(body) == {
        "id": "a",
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [1, 3], "data": [0.25, 0.5, 0.25]}],
    }


def test_bytes_stand_behind_the_head_in_the_order_of_the_outputs() -> None:
    arrays: dict[str, Array] = {
        "scores": np.array([[0.25, 0.5, 0.25]], np.float32),
        "mask": np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
    }
    requested = [RequestedOutput("mask", binary=True, classes=0), RequestedOutput("scores", binary=True, classes=1)]

    body, length = encode_outputs(requested, arrays, LABELS, {}, {"scores"})

    head = orjson.loads(body[:length])
    text = b"0.500000:1:dog"
    assert body[length:] == bytes(range(6)) + struct.pack("<I", len(text)) + text
    assert [row["parameters"]["binary_data_size"] for row in head["outputs"]] == [6, 4 + len(text)]
    assert [row["datatype"] for row in head["outputs"]] == ["UINT8", "BYTES"]


def test_a_long_tensor_is_told_as_bytes_alone_and_a_mask_has_no_best_classes() -> None:
    mask = {"mask": np.zeros((1, 1, MAX_JSON_NUMBERS + 1), np.uint8)}

    for requested in (
        RequestedOutput("mask", binary=False, classes=0),
        RequestedOutput("mask", binary=True, classes=2),
    ):
        with pytest.raises(InvalidParameter):
            encode_outputs([requested], mask, LABELS, {}, {"scores"})
