"""The bodies of the Open Inference Protocol (v2, REST): tensors as JSON, or as bytes behind a JSON head.

A picture is one element of the BYTES tensor `image`: behind the head a length (4 bytes, little-endian) and the file, in
JSON its base64. Triton's extensions `binary_tensor_data` and `classification` are understood.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np
import orjson
from pydantic import ValidationError
from starlette.datastructures import Headers

from service.errors import EmptyBody, InvalidHeader, InvalidParameter, MalformedJson, ServiceError, TooManyImages
from service.gateway.routes.v2_schemas import OutputParameters, TensorInput, TensorOutput, TensorRequest
from service.gateway.uploads.body import Upload, check_encoding, from_base64, malformed_json, upload_of
from service.tasks.frame import Array

INPUT = "image"
HEAD_LENGTH = "Inference-Header-Content-Length"
DATATYPES: Final = {"uint8": "UINT8", "float32": "FP32"}
LENGTH = struct.Struct("<I")
STRUCTURE = 64  # brackets and commas of a head, besides those of its elements
LONGEST_LIST = 1 << 20  # numbers of a tensor that is told as JSON


@dataclass(frozen=True)
class Wanted:
    """One output as it is to be told: its name, whether as bytes, and of how many classes (0: all, as numbers)."""

    name: str
    binary: bool
    classes: int


@dataclass
class TensorBody:
    """A body in this protocol; `identity` and `wanted` are known once it has been read."""

    headers: Headers
    max_images: int
    outputs: Sequence[str]
    identity: str | None = None
    wanted: list[Wanted] = field(default_factory=list)
    _content: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        check_encoding(self.headers)
        self._length = self.headers.get(HEAD_LENGTH)
        if self._length is not None and not (self._length.isascii() and self._length.isdecimal()):
            raise _bad_length()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._content += chunk

    def finish(self) -> list[Upload]:
        """The pictures. Raises `MalformedJson`, `InvalidParameter` and the like."""
        content = bytes(self._content)
        if not content:
            raise EmptyBody("The body is empty.")
        length = len(content) if self._length is None else int(self._length)
        if length > len(content):
            raise _bad_length()
        head = self._head(content[:length])
        self.identity = head.id
        self.wanted = self._wants(head)
        return self._pictures(head.inputs[0], memoryview(content)[length:])

    def _head(self, text: bytes) -> TensorRequest:
        """Refuses before parsing what would make millions of objects: base64 has neither brackets nor commas."""
        if max(text.count(mark) for mark in (b"[", b"{", b",")) > STRUCTURE + 2 * self.max_images:
            raise MalformedJson(f"The head holds more lists or members than {self.max_images} pictures need.")
        try:
            return TensorRequest.model_validate_json(text)
        except ValidationError as error:
            raise malformed_json(error) from None

    def _wants(self, head: TensorRequest) -> list[Wanted]:
        default = bool(head.parameters and head.parameters.binary_data_output)
        wanted = []
        for output in head.outputs or [TensorOutput(name=name) for name in self.outputs]:
            if output.name not in self.outputs:
                raise _wrong("outputs", f"The model's outputs are {', '.join(self.outputs)}.")
            said = output.parameters or OutputParameters()
            binary = default if said.binary_data is None else said.binary_data
            wanted.append(Wanted(output.name, binary, said.classification))
        return wanted

    def _pictures(self, tensor: TensorInput, rest: memoryview) -> list[Upload]:
        if tensor.name != INPUT or tensor.datatype != "BYTES":
            raise _wrong("inputs", f"The model's one input is the BYTES tensor {INPUT}.")
        count = prod(tensor.shape)
        if count > self.max_images:
            detail = f"The tensor holds more than {self.max_images} pictures."
            raise TooManyImages(detail, limit=self.max_images, actual=count)
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if (size or 0) != len(rest) or (size is not None and tensor.data is not None):
            raise _wrong("inputs", "binary_data_size is not the number of bytes behind the head, or there is data too.")
        uploads = _in_json(tensor.data or []) if size is None else _in_bytes(rest)
        if len(uploads) != count or min(tensor.shape, default=0) < 0:
            raise _wrong("inputs", "The shape is not that of the data.")
        if not uploads:
            raise EmptyBody("The tensor holds no picture.")
        return uploads


def _in_json(data: Sequence[str | list[str]]) -> list[Upload]:
    rows = [[row] if isinstance(row, str) else row for row in data]
    return [from_base64(content) for row in rows for content in row]


def _in_bytes(rest: memoryview) -> list[Upload]:
    uploads = []
    while rest:
        if len(rest) < LENGTH.size:
            raise _wrong("inputs", "The bytes end inside an element's length.")
        (length,) = LENGTH.unpack_from(rest)
        if length > len(rest) - LENGTH.size:
            raise _wrong("inputs", "The bytes end inside an element.")
        uploads.append(upload_of(bytes(rest[LENGTH.size : LENGTH.size + length])))
        rest = rest[LENGTH.size + length :]
    return uploads


def best(scores: Array, labels: Sequence[str], count: int) -> list[list[bytes]]:
    """The best classes of each row as Triton tells them, `score:class id:label`, by score and then by class id."""
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :count]
    return [
        [f"{row[place]:f}:{place}:{labels[place]}".encode() for place in places]
        for row, places in zip(scores, order, strict=True)
    ]


def answer(
    wanted: Sequence[Wanted], arrays: Mapping[str, Array], labels: Sequence[str], document: dict[str, Any]
) -> tuple[bytes, int | None]:
    """The body of an answer that begins with `document`, and the length of its head where bytes follow.

    Raises `InvalidParameter` for classes of what has none, and for a list that would be too long.
    """
    rows, tails = [], []
    for output in wanted:
        row, tail = _tensor(output, arrays[output.name], labels)
        rows.append(row)
        if tail is not None:
            tails.append(tail)
    head = orjson.dumps({**document, "outputs": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([head, *tails]), len(head) if any(output.binary for output in wanted) else None


def _tensor(output: Wanted, array: Array, labels: Sequence[str]) -> tuple[dict[str, Any], bytes | None]:
    """An output's description, and its bytes where they follow."""
    if output.classes:
        if array.dtype != np.float32:
            raise _wrong("outputs", f"{output.name} has no classes to choose the best of.")
        texts = best(array, labels, output.classes)
        row: dict[str, Any] = {"name": output.name, "datatype": "BYTES", "shape": [len(texts), len(texts[0])]}
        flat = [text for each in texts for text in each]
        if not output.binary:
            return {**row, "data": [text.decode() for text in flat]}, None
        tail = b"".join(LENGTH.pack(len(text)) + text for text in flat)
    else:
        row = {"name": output.name, "datatype": DATATYPES[array.dtype.name], "shape": list(array.shape)}
        if not output.binary:
            if array.size > LONGEST_LIST:
                raise _wrong("outputs", f"{output.name} has more than {LONGEST_LIST} numbers: ask for binary_data.")
            return {**row, "data": np.ascontiguousarray(array).ravel()}, None
        tail = np.ascontiguousarray(array).tobytes()
    return {**row, "parameters": {"binary_data_size": len(tail)}}, tail


def _bad_length() -> ServiceError:
    detail = f"{HEAD_LENGTH} is the number of bytes of the JSON that the body begins with."
    return InvalidHeader(detail, errors=[{"parameter": HEAD_LENGTH, "detail": detail}])


def _wrong(parameter: str, detail: str) -> ServiceError:
    return InvalidParameter(detail, errors=[{"parameter": parameter, "detail": detail}])
