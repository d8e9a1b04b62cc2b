"""Translation between gRPC messages and bodies of the HTTP form."""

import grpc
import orjson
import pytest
from starlette.datastructures import Headers

import service.errors
from service.gateway.server.grpc_server import translation
from service.gateway.server.grpc_server.asgi_call import HttpResponse
from service.gateway.server.grpc_server.generated import open_inference_pb2 as messages
from service.gateway.server.grpc_server.translation import InvalidCallError

STATUSES = sorted({error.status for error in service.errors.ServiceError.__subclasses__()})


@pytest.mark.parametrize("status", STATUSES)
def test_a_caller_is_blamed_for_what_it_sent_and_for_nothing_else(status: int) -> None:
    ours = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert (translation.status_of(status) in ours) == (status >= 500 or status == 408)


def test_parameters_keep_their_types() -> None:
    request = messages.ModelInferRequest()
    tensor = request.inputs.add(name="image", datatype="BYTES", shape=[0])
    for name, choice, value in (
        ("a", "bool_param", True),
        ("b", "int64_param", -3),
        ("c", "string_param", "x"),
        ("d", "double_param", 0.5),
        ("e", "uint64_param", 2**63),
    ):
        setattr(request.parameters[name], choice, value)
        setattr(tensor.parameters[name], choice, value)
    length, body = translation.infer_body(request)
    head = orjson.loads(body[:length])
    given = {"a": True, "b": -3, "c": "x", "d": 0.5, "e": 2**63}
    assert head["parameters"] == {**given, "binary_data_output": True}
    assert head["inputs"][0]["parameters"] == {**given, "binary_data_size": 0}


def test_raw_contents_are_one_for_each_input() -> None:
    request = messages.ModelInferRequest(raw_input_contents=[b"a", b"b"])
    request.inputs.add(name="image")
    with pytest.raises(InvalidCallError, match="one element for each input"):
        translation.infer_body(request)


def test_outputs_are_cut_from_the_bytes_in_their_order() -> None:
    rows = [
        {"name": name, "datatype": "UINT8", "shape": [size], "parameters": {"binary_data_size": size}}
        for name, size in (("first", 2), ("second", 3))
    ]
    head = orjson.dumps({"model_name": "m", "model_version": "1", "outputs": rows})
    headers = Headers({"Inference-Header-Content-Length": str(len(head))})
    message = translation.infer_response(HttpResponse(200, headers, head + b"aabbb"))
    assert [output.name for output in message.outputs] == ["first", "second"]
    assert list(message.raw_output_contents) == [b"aa", b"bbb"]
