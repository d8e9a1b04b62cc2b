"""The Open Inference Protocol's shapes, as far as they are understood here; of a request, other members are ignored."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.tasks.shapes import Shape

Datatype = Literal["BYTES", "FP32", "UINT8"]


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class InputParameters(_Said):
    """How an input is sent."""

    binary_data_size: int | None = Field(default=None, ge=0, description="bytes of it behind the JSON")


class TensorInput(_Said):
    """The input: encoded pictures, behind the JSON or in `data` as base64."""

    name: str = Field(examples=["image"])
    shape: list[int] = Field(max_length=8)
    datatype: str = Field(examples=["BYTES"])
    parameters: InputParameters | None = None
    data: list[str | list[str]] | None = None


class OutputParameters(_Said):
    """How an output is wanted."""

    binary_data: bool | None = Field(default=None, description="as bytes behind the JSON")
    classification: int = Field(default=0, ge=0, description="only so many best classes, by name")


class TensorOutput(_Said):
    """An output that is wanted."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(_Said):
    """How outputs are wanted that say nothing themselves."""

    binary_data_output: bool = False


class TensorRequest(_Said):
    """What a request says of itself and its tensors."""

    id: str | None = Field(default=None, max_length=256)
    parameters: RequestParameters | None = None
    inputs: list[TensorInput] = Field(min_length=1, max_length=1)
    outputs: list[TensorOutput] | None = Field(default=None, max_length=8, description="all, if none is named")


class TensorFacts(Shape):
    """A tensor; a side of -1 is any."""

    name: str
    datatype: Datatype
    shape: list[int]


class TensorAnswer(TensorFacts):
    """An output, in `data` or behind the JSON."""

    data: list[Any] | None = None
    parameters: InputParameters | None = None


class InferResponse(Shape):
    """A row of each output for each picture."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[TensorAnswer]


class ServerFacts(Shape):
    """The server, and what it understands besides the protocol."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Shape):
    """The process answers."""

    live: Literal[True]


class ServerReady(Shape):
    """Every served model is ready."""

    ready: Literal[True]


class ModelTensors(Shape):
    """A model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]


class ModelReady(Shape):
    """The model is ready."""

    name: str
    ready: Literal[True]
