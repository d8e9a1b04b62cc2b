"""The messages between TorchServe and a worker process, on a stream socket, as TorchServe 0.12 encodes them.

Integers have four bytes, big-endian. A string or body is its length and its bytes. A list ends with the length -1.

A message that loads a model is the letter L and the fields of `_load`. A batch is the letter I and a list of requests.
A request has an id, a list of headers, and a list of parts, each with its name, content type and body. A reply has a
status, a message, and for each request its id, content type, status, phrase, headers and body.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader

INTEGER = struct.Struct("!i")
END_OF_LIST = INTEGER.pack(-1)
NO_TYPE = INTEGER.pack(0)


@dataclass(frozen=True)
class LoadMessage:
    """The model to load: its folder, the module of its handler, and the GPU that TorchServe chose, if any."""

    model: str
    folder: str
    handler: str
    gpu: int | None


@dataclass(frozen=True)
class BatchRequest:
    """One request of a batch: its id, and its bodies by the name of the part."""

    name: bytes
    bodies: dict[str, bytearray]


def read(stream: BufferedReader) -> LoadMessage | list[BatchRequest]:
    """Return the next message. Raises `EOFError` if the connection has ended, and `ValueError` for another message."""
    kind = bytes(_bytes(stream, 1))
    if kind == b"I":
        return _requests(stream)
    if kind != b"L":
        raise ValueError(f"TorchServe sent a message of the unknown kind {kind!r}")
    return _load(stream)


def reply(status: int, message: str, names: Sequence[bytes] = (), bodies: Sequence[bytes] = ()) -> bytes:
    """Return the reply to a message: the status of all, and for each request its name, status and body."""
    parts = [INTEGER.pack(status), _prefixed(message.encode())]
    for name, body in zip(names, bodies, strict=True):
        parts += [_prefixed(name), NO_TYPE, INTEGER.pack(status), _prefixed(b""), INTEGER.pack(0), _prefixed(body)]
    return b"".join([*parts, END_OF_LIST])


def _load(stream: BufferedReader) -> LoadMessage:
    model, folder = _string(stream), _string(stream)
    _integer(stream)  # the batch size
    handler, gpu = _string(stream), _integer(stream)
    _string(stream)  # the envelope
    _bytes(stream, 1)  # whether to limit Pillow's images
    return LoadMessage(model, folder, handler, gpu if gpu >= 0 else None)


def _requests(stream: BufferedReader) -> list[BatchRequest]:
    requests = []
    while (length := _integer(stream)) >= 0:
        name = bytes(_bytes(stream, length))
        while (length := _integer(stream)) >= 0:  # a header
            _bytes(stream, length)
            _bytes(stream, _integer(stream))
        bodies = {}
        while (length := _integer(stream)) >= 0:
            part = _bytes(stream, length).decode()
            _bytes(stream, _integer(stream))  # the content type
            bodies[part] = _bytes(stream, _integer(stream))
        requests.append(BatchRequest(name, bodies))
    return requests


def _prefixed(content: bytes) -> bytes:
    return INTEGER.pack(len(content)) + content


def _string(stream: BufferedReader) -> str:
    return _bytes(stream, _integer(stream)).decode()


def _integer(stream: BufferedReader) -> int:
    (value,) = INTEGER.unpack(_bytes(stream, INTEGER.size))
    return int(value)


def _bytes(stream: BufferedReader, length: int) -> bytearray:
    content = bytearray(length)
    if length and stream.readinto(content) < length:
        raise EOFError
    return content
