"""Python objects over a socket to a process of our own; large buffers travel beside the pickle and not in it.

A frame is the pickle's length and the number of buffers, the buffers' lengths, the pickle, the buffers (pickle
protocol 5, out of band). A picture's bytes and pixels are so copied into the socket and out of it, and nowhere else.
"""

import pickle
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

HEAD: Final = struct.Struct("<QI")
LENGTH: Final = struct.Struct("<Q")
IN_BAND: Final = 1024  # bytes; what is shorter is not worth a buffer of its own


def pack(value: Any) -> list[memoryview]:
    """The parts of a frame; the buffers among them are `value`'s own."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    lengths = b"".join(LENGTH.pack(each.nbytes) for each in raw)
    return [memoryview(HEAD.pack(len(pickled), len(raw)) + lengths + pickled), *raw]


def beside(value: Any) -> Any:
    """Long bytes as what `pack` leaves where they are; they arrive as bytes again. All else as it is."""
    return pickle.PickleBuffer(value) if isinstance(value, bytes) and len(value) > IN_BAND else value


def rest(parts: Sequence[memoryview], sent: int) -> Iterator[memoryview]:
    """What is left of the parts behind their first `sent` bytes."""
    for part in parts:
        if sent < part.nbytes:
            yield part[sent:]
        sent = max(0, sent - part.nbytes)


def unpack(head: bytes | bytearray, count: int, buffers: Sequence[bytes | bytearray]) -> Any:
    """The value of a frame, from what stands between its head and its `count` buffers; it keeps the buffers."""
    return pickle.loads(memoryview(head)[count * LENGTH.size :], buffers=buffers)  # noqa: S301 - our own process wrote it


def lengths(head: bytes | bytearray, count: int) -> list[int]:
    """The lengths of the `count` buffers."""
    return [length for (length,) in LENGTH.iter_unpack(memoryview(head)[: count * LENGTH.size])]


def read(incoming: BinaryIO) -> Any:
    """The next value. Raises `EOFError` where the other end has closed."""
    first = incoming.read(HEAD.size)
    if len(first) < HEAD.size:
        raise EOFError
    size, count = HEAD.unpack(first)
    head = incoming.read(count * LENGTH.size + size)
    return unpack(head, count, [incoming.read(length) for length in lengths(head, count)])


def write(link: socket.socket, value: Any) -> None:
    """Send a value whole, over a socket that blocks."""
    parts = pack(value)
    for part in rest(parts, link.sendmsg(parts)):
        link.sendall(part)
