"""Sends Python objects over a socket to a process of this service, with large buffers outside the pickle.

A frame consists of the pickle's length and the number of buffers, the buffers' lengths, the pickle, and the buffers
(pickle protocol 5, out of band). So an image's bytes and pixels are only copied into the socket and out of it.
"""

import pickle
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

HEAD: Final = struct.Struct("<QI")
LENGTH: Final = struct.Struct("<Q")
IN_BAND: Final = 1024  # bytes; up to this length a separate buffer does not pay


def pack(value: Any) -> list[memoryview]:
    """Return the parts of a frame. Its buffers are those of `value`, not copies."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    lengths = b"".join(LENGTH.pack(each.nbytes) for each in raw)
    return [memoryview(HEAD.pack(len(pickled), len(raw)) + lengths + pickled), *raw]


def out_of_band(value: Any) -> Any:
    """Wrap long bytes so that `pack` sends them as a buffer; they arrive as bytes. Return other values unchanged."""
    return pickle.PickleBuffer(value) if isinstance(value, bytes) and len(value) > IN_BAND else value


def remaining(parts: Sequence[memoryview], sent: int) -> Iterator[memoryview]:
    """Yield what is left of the parts after their first `sent` bytes."""
    for part in parts:
        if sent < part.nbytes:
            yield part[sent:]
        sent = max(0, sent - part.nbytes)


def unpack(head: bytes | bytearray, count: int, buffers: Sequence[bytes | bytearray]) -> Any:
    """Return the value of a frame from its lengths and pickle (`head`) and its `count` buffers, which it keeps."""
    return pickle.loads(memoryview(head)[count * LENGTH.size :], buffers=buffers)  # noqa: S301 - from our own process


def lengths(head: bytes | bytearray, count: int) -> list[int]:
    """Return the lengths of the `count` buffers."""
    return [length for (length,) in LENGTH.iter_unpack(memoryview(head)[: count * LENGTH.size])]


def read(incoming: BinaryIO) -> Any:
    """Read the next value. Raises `EOFError` if the other end has closed."""
    first = incoming.read(HEAD.size)
    if len(first) < HEAD.size:
        raise EOFError
    size, count = HEAD.unpack(first)
    head = incoming.read(count * LENGTH.size + size)
    return unpack(head, count, [incoming.read(length) for length in lengths(head, count)])


def write(link: socket.socket, value: Any) -> None:
    """Send a whole value over a blocking socket."""
    parts = pack(value)
    for part in remaining(parts, link.sendmsg(parts)):
        link.sendall(part)
