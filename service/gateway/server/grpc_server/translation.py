"""Translate messages of the Open Inference Protocol between gRPC and its HTTP form with binary tensors."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import grpc
import orjson

from service.gateway.routes.open_inference.v2_tensors import HEAD_LENGTH, INPUT, LENGTH
from service.gateway.server.grpc_server.asgi_call import HttpResponse
from service.gateway.server.grpc_server.generated.open_inference_pb2 import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
)

# The gRPC status of each HTTP status of a problem. Others of 400 to 499 are INVALID_ARGUMENT, and the rest INTERNAL.
STATUSES: Final = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# The response headers that a call returns as metadata.
RETURNED: Final = (
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "server-timing",
    "www-authenticate",
    "x-model-version",
    "x-request-id",
)
PROBLEM: Final = "problem-bin"  # the problem document, in JSON


class InvalidCallError(ValueError):
    """The call cannot be translated. The message is one sentence for its caller."""


def status_of(http_status: int) -> grpc.StatusCode:
    """Return the gRPC status of a problem's HTTP status."""
    default = grpc.StatusCode.INVALID_ARGUMENT if http_status < 500 else grpc.StatusCode.INTERNAL
    return STATUSES.get(http_status, default)


def metadata_of(response: HttpResponse) -> list[tuple[str, str | bytes]]:
    """Return the trailing metadata of a call: some headers of the response and, for a problem, its document."""
    pairs: list[tuple[str, str | bytes]] = [
        (name, response.headers[name]) for name in RETURNED if name in response.headers
    ]
    return pairs if response.status < 400 else [*pairs, (PROBLEM, response.body)]


def infer_body(request: ModelInferRequest) -> tuple[int, bytes]:
    """Return the length of the JSON head, and the body: that head and the bytes of the tensor.

    Every output is asked for as bytes. Raise `InvalidCallError`, also where the call asks for another form.
    """
    if not request.inputs:
        raise InvalidCallError(f"The call has no input. Send the BYTES tensor {INPUT}.")
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise InvalidCallError("raw_input_contents must have one element for each input.")
    asked = [
        (request.parameters, "binary_data_output"),
        *((each.parameters, "binary_data") for each in request.outputs),
    ]
    if any(name in given and _values(given)[name] is not True for given, name in asked):
        raise InvalidCallError("Outputs are in raw_output_contents alone. Leave binary_data out.")
    if raw and any(tensor.HasField("contents") for tensor in request.inputs):
        raise InvalidCallError("An input must be in its contents or in raw_input_contents, not in both.")
    tails = raw or [_joined(tensor.contents.bytes_contents) for tensor in request.inputs]
    inputs: list[dict[str, Any]] = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": _values(tensor.parameters) | {"binary_data_size": len(tail)},
        }
        for tensor, tail in zip(request.inputs, tails, strict=True)
    ]
    outputs = [{"name": output.name, "parameters": _values(output.parameters)} for output in request.outputs]
    head: dict[str, Any] = {
        "parameters": {**_values(request.parameters), "binary_data_output": True},
        "inputs": inputs,
        **({"outputs": outputs} if outputs else {}),
        **({"id": request.id} if request.id else {}),
    }
    text = orjson.dumps(head)
    return len(text), b"".join([text, *tails])


def infer_response(response: HttpResponse) -> ModelInferResponse:
    """Return the message of a successful response, whose outputs are bytes after the JSON head."""
    end = int(response.headers[HEAD_LENGTH])
    document, rest = orjson.loads(response.body[:end]), memoryview(response.body)[end:]
    message = ModelInferResponse(
        model_name=document["model_name"], model_version=document["model_version"], id=document.get("id", "")
    )
    for row in document["outputs"]:
        message.outputs.add(name=row["name"], datatype=row["datatype"], shape=row["shape"])
        size = row["parameters"]["binary_data_size"]
        message.raw_output_contents.append(bytes(rest[:size]))
        rest = rest[size:]
    return message


def model_metadata(document: Mapping[str, Any]) -> ModelMetadataResponse:
    """Return the message of a model's description."""
    tensor = ModelMetadataResponse.TensorMetadata
    return ModelMetadataResponse(
        name=document["name"],
        versions=document["versions"],
        platform=document["platform"],
        inputs=[tensor(**facts) for facts in document["inputs"]],
        outputs=[tensor(**facts) for facts in document["outputs"]],
    )


def _joined(elements: Iterable[bytes]) -> bytes:
    return b"".join(LENGTH.pack(len(element)) + element for element in elements)


def _values(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    chosen = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], choice) if choice else None for name, choice in chosen.items()}
