"""Parse and encode bodies of the Open Inference Protocol (v2, REST): JSON, or a JSON head and binary tensors.

An image is one element of the BYTES tensor `image`. After a JSON head it is a length (4 bytes, little-endian) and the
file; in JSON it is base64. Triton's extensions `binary_tensor_data` and `classification` are supported.
"""

import re
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod
from typing import Any, Final

import numpy as np
import orjson
from pydantic import ValidationError
from starlette.datastructures import Headers

from service.errors import EmptyBody, InvalidHeader, InvalidParameter, MalformedJson, ServiceError, TooManyImages
from service.gateway.http import mistakes
from service.gateway.routes.open_inference import v2_schemas
from service.gateway.routes.open_inference.v2_schemas import OutputParameters, TensorInput, TensorOutput, TensorRequest
from service.gateway.uploads.multipart import SIMILAR
from service.gateway.uploads.parsers.image_bodies import Upload, check_encoding, from_base64, upload_of
from service.gateway.uploads.parsers.json_mistakes import malformed_json
from service.imaging import decoder
from service.tasks import parameter_names
from service.tasks.frame import Array

INPUT = "image"
HEAD_LENGTH = "Inference-Header-Content-Length"
DATATYPES: Final = {"uint8": "UINT8", "float32": "FP32", "int32": "INT32"}
NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)  # Python refuses to read thousands of digits
LENGTH = struct.Struct("<I")
HEAD_STRUCTURE = 64  # brackets and commas of a head, besides two for each image
MAX_JSON_NUMBERS = 1 << 20  # of an output in JSON

SHARED_MEMORY = "Shared memory is not offered. Send the bytes in the body, and read them from the response."
SEQUENCES = "Sequences are not offered. Each image is answered for itself."
# The parameters of Triton's extensions that would change the result and are not offered, with what is.
NOT_OFFERED: Final = {
    "timeout": "Send the header Request-Timeout, in seconds.",
    "priority": "Send the header Priority (RFC 9218), from u=0, the most urgent, to u=7.",
    "shared_memory_region": SHARED_MEMORY,
    "shared_memory_offset": SHARED_MEMORY,
    "shared_memory_byte_size": SHARED_MEMORY,
    "sequence_id": SEQUENCES,
    "sequence_start": SEQUENCES,
    "sequence_end": SEQUENCES,
    "model_name": "It belongs in the URL, as /v2/models/{name}/infer.",
    "model_version": "It belongs in the URL, as /v2/models/{name}/versions/{version}/infer.",
    "binary_data_size": "It belongs in the parameters of an input.",
    "binary_data": "It belongs in the parameters of an output.",
    "classification": "It belongs in the parameters of an output.",
    "binary_data_output": "It belongs in the parameters of the request.",
}

ELSEWHERE: Final = "It is a parameter of other routes. The parameters of this request are {own}."
PARAMETERS: Final = parameter_names()
# The names that each part may have. One that is similar is misspelt, and would have no effect.
KNOWN: Final[Mapping[str, Collection[str]]] = {
    "": ("inputs", "outputs", "parameters"),
    "parameters.": ("binary_data_output",),
    "inputs.parameters.": ("binary_data_size",),
    "outputs.parameters.": ("binary_data", "classification"),
}
NO_NAMES: Final[Mapping[str, Collection[str | None]]] = {}


@dataclass(frozen=True)
class RequestedOutput:
    """A requested output: its name, whether as bytes, and the number of best classes (0: all scores)."""

    name: str
    binary: bool
    classes: int


@dataclass
class TensorBody:
    """A request body of this protocol. Without a list of outputs, all but those `on_request` are requested.

    `own` are the names of the parameters that the model's task reads from the request. `addressed` has the names of the
    model in the URL, which some clients repeat in the body, such as KServe's.
    `request_id`, `requested` and `parameters` are set once the body has been read.
    """

    headers: Headers
    max_images: int
    outputs: Sequence[str]
    on_request: Collection[str] = ()
    own: Collection[str] = ()
    addressed: Mapping[str, Collection[str | None]] = field(default_factory=dict)
    request_id: str | None = None
    requested: list[RequestedOutput] = field(default_factory=list)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    _content: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        check_encoding(self.headers)
        self._length = self.headers.get(HEAD_LENGTH)
        if self._length is not None and not NUMBER.fullmatch(self._length):
            raise _invalid_length()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._content += chunk

    def finish(self) -> list[Upload]:
        """Return the images. Raises `ServiceError`, such as `MalformedJson` or `InvalidParameter`."""
        content = bytes(self._content)
        if not content:
            raise EmptyBody(f"The request has no body. {v2_schemas.CURE}")
        length = len(content) if self._length is None else int(self._length)
        if self._length is not None and length == 0:
            return self._raw(content)
        if length > len(content):
            raise _invalid_length()
        head = self._head(content[:length])
        self.request_id = head.id
        self.requested = self._requested(head)
        self.parameters = (head.parameters.model_extra if head.parameters else None) or {}
        return self._images(head.inputs[0], memoryview(content)[length:])

    def _raw(self, content: bytes) -> list[Upload]:
        """Return the one image of a body without a head, which asks for all outputs in JSON (a raw binary request)."""
        self.requested = [RequestedOutput(name, binary=False, classes=0) for name in self.outputs]
        return [upload_of(content)]

    def _head(self, text: bytes) -> TensorRequest:
        """Return the parsed head. One that would become millions of objects is rejected before it is parsed.

        It is recognised by its brackets and commas, which base64 does not contain.
        """
        if decoder.sniff(text) is not None:
            raise MalformedJson(f"The body is an image, not JSON. Send it with the header {HEAD_LENGTH}: 0.")
        is_json = text.lstrip()[:1] in (b"{", b"[")
        if is_json and max(text.count(mark) for mark in (b"[", b"{", b",")) > HEAD_STRUCTURE + 2 * self.max_images:
            raise MalformedJson(f"The JSON has more lists or members than {self.max_images} images need.")
        try:
            head = TensorRequest.model_validate_json(text)
        except ValidationError as error:
            raise malformed_json(error, v2_schemas.CURE) from None
        check_parameters(head, self.own, self.addressed)
        return head

    def _requested(self, head: TensorRequest) -> list[RequestedOutput]:
        default = bool(head.parameters and head.parameters.binary_data_output)
        usual = [name for name in self.outputs if name not in self.on_request]
        requested = []
        for output in head.outputs or [TensorOutput(name=name) for name in usual]:
            if output.name not in self.outputs:
                raise _invalid("outputs", f"The model's outputs are {', '.join(self.outputs)}.")
            parameters = output.parameters or OutputParameters()
            binary = default if parameters.binary_data is None else parameters.binary_data
            requested.append(RequestedOutput(output.name, binary, parameters.classification))
        return requested

    def _images(self, tensor: TensorInput, tail: memoryview) -> list[Upload]:
        if tensor.name != INPUT or tensor.datatype != "BYTES":
            raise _invalid("inputs", f"The model's only input is the BYTES tensor {INPUT}.")
        count = prod(tensor.shape)
        if count > self.max_images:
            detail = f"The tensor has more than {self.max_images} images."
            raise TooManyImages(detail, limit=self.max_images, actual=count)
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if (size or 0) != len(tail) or (size is not None and tensor.data is not None):
            detail = "Each binary_data_size is the number of bytes after the JSON head, without data beside it."
            raise _invalid("inputs", detail)
        uploads = _from_json(tensor.data or []) if size is None else _from_bytes(tail)
        if len(uploads) != count or min(tensor.shape, default=0) < 0:
            raise _invalid("inputs", "The shape does not match the number of elements.")
        if not uploads:
            raise EmptyBody("The tensor has no images.")
        return uploads


def extra_of(part: TensorRequest | TensorInput | TensorOutput) -> Iterable[str]:
    """Return the names of a part's parameters that this protocol does not define for it."""
    return (part.parameters.model_extra or ()) if part.parameters else ()


def check_parameters(
    head: TensorRequest, own: Collection[str], addressed: Mapping[str, Collection[str | None]] = NO_NAMES
) -> None:
    """Raise `InvalidParameter` for what would change the result, but is not offered in its place.

    These are parameters of Triton's extensions and of this service's other routes, and misspelt ones. `own` are those
    of the request. A name of the model may be repeated if `addressed` has its value.
    """
    members = (head.model_extra or {}).items()
    parts: dict[str, Iterable[str]] = {
        "": [name for name, value in members if value is not None and value not in addressed.get(name, ())],
        "parameters.": [name for name in extra_of(head) if name not in own],
        "inputs.parameters.": [name for part in head.inputs for name in extra_of(part)],
        "outputs.parameters.": [name for part in head.outputs or [] for name in extra_of(part)],
    }
    elsewhere = ELSEWHERE.format(own=", ".join(sorted({*own, *KNOWN["parameters."]})))
    errors = [
        (f"{place}{name}", detail)
        for place, names in parts.items()
        for name in names
        if (detail := _refusal(name, [*KNOWN[place], *(own if place == "parameters." else ())], elsewhere))
    ]
    if errors:
        raise InvalidParameter.of(errors)


def _refusal(name: str, known: Collection[str], elsewhere: str) -> str | None:
    """Return why a part cannot have a parameter of this name, or None if it is ignored."""
    if name in NOT_OFFERED or name in PARAMETERS:
        return NOT_OFFERED.get(name, elsewhere)
    misspelt = get_close_matches(name[: mistakes.NAME_CHARACTERS].lower(), known, 1, SIMILAR)
    return mistakes.unknown(name, known, "This part has") if misspelt else None


def _from_json(data: Sequence[str | list[str]]) -> list[Upload]:
    rows = [[row] if isinstance(row, str) else row for row in data]
    return [from_base64(content) for row in rows for content in row]


def _from_bytes(tail: memoryview) -> list[Upload]:
    uploads = []
    while tail:
        if len(tail) < LENGTH.size:
            raise _invalid("inputs", "The bytes end inside an element's length.")
        (length,) = LENGTH.unpack_from(tail)
        if length > len(tail) - LENGTH.size:
            raise _invalid("inputs", "The bytes end inside an element.")
        uploads.append(upload_of(bytes(tail[LENGTH.size : LENGTH.size + length])))
        tail = tail[LENGTH.size + length :]
    return uploads


def top_classes(scores: Array, labels: Sequence[str], count: int) -> list[list[bytes]]:
    """Return the best classes of each row in Triton's form, `score:class id:label`. Equal scores are sorted by id."""
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :count]
    return [
        [f"{row[class_id]:f}:{class_id}:{labels[class_id]}".encode() for class_id in best]
        for row, best in zip(scores, order, strict=True)
    ]


def encode_outputs(
    requested: Sequence[RequestedOutput],
    arrays: Mapping[str, Array],
    labels: Sequence[str],
    document: dict[str, Any],
    scored: Collection[str],
) -> tuple[bytes, int | None]:
    """Return the body of a response that begins with `document`, and the length of its head if bytes follow it.

    The outputs named by `scored` have a score for each of the `labels`.

    Raises `InvalidParameter` for the best classes of an output without classes, and for too many numbers in JSON.
    """
    rows, tails = [], []
    for output in requested:
        row, tail = _encode(output, arrays[output.name], labels, scored)
        rows.append(row)
        if tail is not None:
            tails.append(tail)
    head = orjson.dumps({**document, "outputs": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([head, *tails]), len(head) if any(output.binary for output in requested) else None


def _encode(
    output: RequestedOutput, array: Array, labels: Sequence[str], scored: Collection[str]
) -> tuple[dict[str, Any], bytes | None]:
    """Return an output's `TensorAnswer`, and its bytes if it is binary."""
    if output.classes:
        if output.name not in scored:
            raise _invalid(
                "outputs", f"classification does not apply to {output.name}, which has no score for each class."
            )
        texts = top_classes(array, labels, output.classes)
        row: dict[str, Any] = {"name": output.name, "datatype": "BYTES", "shape": [len(texts), len(texts[0])]}
        flat = [text for each in texts for text in each]
        if not output.binary:
            return {**row, "data": [text.decode() for text in flat]}, None
        tail = b"".join(LENGTH.pack(len(text)) + text for text in flat)
    else:
        row = {"name": output.name, "datatype": DATATYPES[array.dtype.name], "shape": list(array.shape)}
        if not output.binary:
            if array.size > MAX_JSON_NUMBERS:
                detail = f"{output.name} has more than {MAX_JSON_NUMBERS} numbers: request it with binary_data."
                raise _invalid("outputs", detail)
            return {**row, "data": np.ascontiguousarray(array).ravel()}, None
        tail = np.ascontiguousarray(array).tobytes()
    return {**row, "parameters": {"binary_data_size": len(tail)}}, tail


def _invalid_length() -> ServiceError:
    detail = f"{HEAD_LENGTH} must be the number of bytes of the JSON at the start of the body."
    return InvalidHeader(detail, errors=[{"parameter": HEAD_LENGTH, "detail": detail}])


def _invalid(parameter: str, detail: str) -> ServiceError:
    return InvalidParameter.of([(parameter, detail)])
