"""The documents of the Open Inference Protocol, as far as this server supports them. Other members are ignored."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.tasks.shapes import Shape

# What to send in place of a body that is no request.
CURE: Final = (
    'Send `{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["<base64>"]}]}`, '
    "or one image with the header Inference-Header-Content-Length: 0."
)

Datatype = Literal["BYTES", "FP32", "INT32", "UINT8"]


class _RequestPart(BaseModel):
    """A part of a request. Unknown members are ignored, and no value is converted to another type."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Parameters(BaseModel):
    """The parameters of a part. Unknown ones are kept in `model_extra`: some are of Triton and change the result."""

    model_config = ConfigDict(extra="allow", strict=True)


class InputParameters(_Parameters):
    """The parameters of a tensor that is sent as bytes."""

    binary_data_size: int | None = Field(
        default=None, ge=0, description="Number of the tensor's bytes after the JSON head."
    )


class TensorInput(_RequestPart):
    """The input: encoded images, as bytes after the JSON head or as base64 in `data`."""

    name: str = Field(examples=["image"])
    shape: list[int] = Field(max_length=8, description="`[n]` or `[n, 1]` for n images.")
    datatype: str = Field(examples=["BYTES"])
    parameters: InputParameters | None = None
    data: list[str | list[str]] | None = Field(default=None, description="The images in base64.")


class OutputParameters(_Parameters):
    """The form of one output."""

    binary_data: bool | None = Field(default=None, description="Return the output as bytes after the JSON head.")
    classification: int = Field(
        default=0, ge=0, description="Return this many best classes as `score:class id:label` instead of all scores."
    )


class TensorOutput(_RequestPart):
    """A requested output."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(_Parameters):
    """The parameters of outputs that have none of their own. A task may have others."""

    binary_data_output: bool = Field(default=False, description="Return outputs as bytes after the JSON head.")


class TensorRequest(_RequestPart):
    """An inference request. Unknown members are kept in `model_extra`: some are parameters in the wrong place."""

    model_config = ConfigDict(extra="allow", strict=True)

    id: str | None = Field(default=None, max_length=256, description="Returned in the response.")
    parameters: RequestParameters | None = None
    inputs: list[TensorInput] = Field(min_length=1, max_length=1)
    outputs: list[TensorOutput] | None = Field(
        default=None, max_length=8, description="The requested outputs. Default: all."
    )


class TensorFacts(Shape):
    """A tensor. A dimension of -1 has any size."""

    name: str
    datatype: Datatype
    shape: list[int]


class TensorAnswer(TensorFacts):
    """An output, in `data` or as bytes after the JSON head."""

    data: list[Any] | None = None
    parameters: InputParameters | None = None


class InferResponse(Shape):
    """The outputs, with one row for each image."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[TensorAnswer]


class ServerFacts(Shape):
    """The server and its extensions of the protocol."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Shape):
    """The response of a live process."""

    live: Literal[True]


class ServerReady(Shape):
    """The response while every served model is ready."""

    ready: Literal[True]


class ModelTensors(Shape):
    """The inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]


class ModelReady(Shape):
    """The response while the model is ready."""

    name: str
    ready: Literal[True]
