"""The calls of the Open Inference Protocol over gRPC: answers, problems, keys, deadlines and limits."""

import asyncio
import json
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from service import __version__
from service.config.api_keys import digest
from service.gateway.server.grpc_server.generated import open_inference_pb2 as messages
from service.models.cards import ModelCard
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_outputs import offline_scores
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes
from tests.gateway.fixtures.traces import PARENT, SAMPLED, TRACE, received
from tests.gateway.server.grpc_server.conftest import Call, Open
from tests.otlp import Received

__all__ = ["received"]
pytestmark = pytest.mark.anyio

CLASSIFIER = "tiny-classifier"
KEY = "a" * 32


def infer(*images: bytes, model: str = CLASSIFIER, **more: Any) -> messages.ModelInferRequest:
    """Return a request whose images are in typed contents."""
    contents = messages.InferTensorContents(bytes_contents=images)
    tensor = messages.ModelInferRequest.InferInputTensor(
        name="image", datatype="BYTES", shape=[len(images)], contents=contents
    )
    return messages.ModelInferRequest(model_name=model, inputs=[tensor], **more)


def scores_of(answer: Any) -> Any:
    (output,) = answer.outputs
    return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(output.shape)


async def refused(made: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await made
    return caught.value


def details(error: grpc.aio.AioRpcError) -> str:
    return error.details() or ""


async def test_the_server_is_live_and_ready_and_described(call: Call) -> None:
    assert (await call("ServerLive", messages.ServerLiveRequest())).live
    assert (await call("ServerReady", messages.ServerReadyRequest())).ready
    described = await call("ServerMetadata", messages.ServerMetadataRequest())
    assert (described.name, described.version) == ("resnest-service", __version__)


async def test_a_model_is_ready_and_described(call: Call, served: dict[str, ModelCard]) -> None:
    version = served[CLASSIFIER].version
    for wanted in ("", version):
        assert (await call("ModelReady", messages.ModelReadyRequest(name=CLASSIFIER, version=wanted))).ready
        described = await call("ModelMetadata", messages.ModelMetadataRequest(name=CLASSIFIER, version=wanted))
        assert (described.name, described.versions) == (CLASSIFIER, [version])
        assert [(each.name, each.datatype, each.shape) for each in described.inputs] == [("image", "BYTES", [-1])]
        assert [(each.name, each.datatype, each.shape) for each in described.outputs] == [("scores", "FP32", [-1, 7])]


async def test_images_get_the_answers_that_they_get_over_http(call: Call, served: dict[str, ModelCard]) -> None:
    images = [image_bytes(seed=seed) for seed in (1, 2)]
    made = call("ModelInfer", infer(*images, id="7"))
    answer = await made

    assert (answer.model_name, answer.model_version, answer.id) == (CLASSIFIER, served[CLASSIFIER].version, "7")
    expected = [offline_scores(served[CLASSIFIER], image) for image in images]
    np.testing.assert_allclose(scores_of(answer), expected, atol=1e-5)
    assert {name for name, _ in await made.trailing_metadata()} >= {"x-request-id", "server-timing"}


async def test_raw_contents_are_as_good_as_typed_ones(call: Call, served: dict[str, ModelCard]) -> None:
    image = image_bytes()
    request = infer(image)
    request.inputs[0].ClearField("contents")
    request.raw_input_contents.append(len(image).to_bytes(4, "little") + image)
    answer = await call("ModelInfer", request)
    np.testing.assert_allclose(scores_of(answer), [offline_scores(served[CLASSIFIER], image)], atol=1e-5)


async def test_the_best_classes_come_in_tritons_form(call: Call) -> None:
    output = messages.ModelInferRequest.InferRequestedOutputTensor(name="scores")
    output.parameters["classification"].int64_param = 2
    answer = await call("ModelInfer", infer(image_bytes(), outputs=[output]))
    assert (answer.outputs[0].datatype, answer.outputs[0].shape) == ("BYTES", [1, 2])
    assert answer.raw_output_contents[0].count(b":") == 4


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (infer(CORRUPT), grpc.StatusCode.INVALID_ARGUMENT, "damaged"),
        (infer(b""), grpc.StatusCode.INVALID_ARGUMENT, "no bytes"),
        (infer(), grpc.StatusCode.INVALID_ARGUMENT, "no images"),
        (messages.ModelInferRequest(model_name=CLASSIFIER), grpc.StatusCode.INVALID_ARGUMENT, "BYTES tensor image"),
        (infer(image_bytes(), model="unknown"), grpc.StatusCode.NOT_FOUND, "No model of that name"),
        (infer(image_bytes(), model="../v1"), grpc.StatusCode.NOT_FOUND, "GET /v1/models"),
        (infer(image_bytes(), model=""), grpc.StatusCode.NOT_FOUND, "GET /v1/models"),
        (infer(image_bytes(), model_version="0.9"), grpc.StatusCode.NOT_FOUND, "not served in that version"),
        (infer(image_bytes(), raw_input_contents=[b"x"]), grpc.StatusCode.INVALID_ARGUMENT, "not in both"),
        (infer(*[b"x"] * 33), grpc.StatusCode.INVALID_ARGUMENT, "32"),
    ],
)
async def test_what_cannot_be_answered_says_why(
    call: Call, request_: messages.ModelInferRequest, status: grpc.StatusCode, words: str
) -> None:
    error = await refused(call("ModelInfer", request_))
    assert (error.code(), words in details(error)) == (status, True), details(error)


async def test_outputs_in_another_form_than_bytes_are_refused(call: Call) -> None:
    output = messages.ModelInferRequest.InferRequestedOutputTensor(name="scores")
    output.parameters["binary_data"].bool_param = False
    for_all = infer(image_bytes())
    for_all.parameters["binary_data_output"].bool_param = False
    for request in (infer(image_bytes(), outputs=[output]), for_all):
        error = await refused(call("ModelInfer", request))
        assert (error.code(), "raw_output_contents" in details(error)) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    output.parameters["binary_data"].bool_param = True
    assert (await call("ModelInfer", infer(image_bytes(), outputs=[output]))).raw_output_contents


async def test_a_problem_comes_as_a_document_too(call: Call) -> None:
    error = await refused(call("ModelInfer", infer(CORRUPT)))
    metadata = dict(error.trailing_metadata())
    problem = json.loads(metadata["problem-bin"])
    assert (problem["detail"], problem["request_id"]) == (details(error), metadata["x-request-id"])
    assert problem["code"]


async def test_a_setting_of_triton_that_is_not_offered_names_what_is(call: Call) -> None:
    request = infer(image_bytes())
    request.parameters["priority"].uint64_param = 1
    error = await refused(call("ModelInfer", request))
    assert (error.code(), "header Priority" in details(error)) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.parametrize("name", ["ModelConfig", "ModelStatistics", "RepositoryIndex", "ModelStreamInfer"])
async def test_a_call_that_is_not_offered_names_what_is(call: Call, name: str) -> None:
    error = await refused(call(name, messages.ServerLiveRequest()))
    assert (error.code(), details(error).startswith(f"{name} is not offered over gRPC.")) == (
        grpc.StatusCode.UNIMPLEMENTED,
        True,
    )


async def test_callers_need_a_key_with_the_models_scope(opened: Open) -> None:
    keys = f"web segment {digest(KEY)}"
    async with opened(keys=keys) as call:
        error = await refused(call("ModelInfer", infer(image_bytes())))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        for metadata in ((("x-api-key", KEY),), (("authorization", f"Bearer {KEY}"),)):
            error = await refused(call("ModelInfer", infer(image_bytes()), metadata=metadata))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED
            answer = await call("ModelInfer", infer(image_bytes(), model="tiny-segmenter"), metadata=metadata)
            assert answer.outputs


async def test_a_callers_deadline_ends_the_work(call: Call, fake: FakeTorchServe) -> None:
    fake.by_model[CLASSIFIER] = "slow"
    error = await refused(call("ModelInfer", infer(image_bytes()), timeout=0.5))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert fake.expires[-1] > 0


async def test_a_caller_that_goes_away_releases_its_slot(opened: Open, fake: FakeTorchServe) -> None:
    async with opened(max_in_flight=1, max_images=1) as call:
        fake.by_model[CLASSIFIER] = "slow"
        made = call("ModelInfer", infer(image_bytes()))
        await until(lambda: fake.waiting)
        made.cancel()
        with pytest.raises(asyncio.CancelledError):
            await made
        fake.by_model.clear()
        fake.release.set()

        async def answered() -> bool:
            try:
                await call("ModelInfer", infer(image_bytes()))
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017 - while the slot is taken
                return False
            return True

        await until(answered)


async def test_a_message_beyond_the_upload_limit_is_refused(opened: Open) -> None:
    async with opened(max_upload_bytes=1000, max_buffered_bytes=1000) as call:
        error = await refused(call("ModelInfer", infer(b"x" * 200_000)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        error = await refused(call("ModelInfer", infer(b"x" * 2000)))
        assert (error.code(), "1000" in details(error).replace(",", "")) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_call_belongs_to_the_trace_of_its_metadata(opened: Open, received: Received) -> None:
    async with opened(traces="otlp") as call:
        await call("ModelInfer", infer(image_bytes()), metadata=tuple(SAMPLED.items()))

    (server,) = [span for span in received.spans if "http.route" in span.attributes]
    assert (server.name, server.trace_id, server.parent_id) == ("POST /v2/models/{name}/infer", TRACE, PARENT)
    assert {span.name for span in received.trace(TRACE)} >= {"upload", "decode", "queue", "inference"}
