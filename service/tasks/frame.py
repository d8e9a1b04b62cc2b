"""The frame, the binary message between gateway and worker: a JSON head, then arrays as raw bytes.

    4 bytes  length of the head, little-endian
    head     {"arrays": [{"name", "dtype", "shape"}, ...], ...}
    arrays   C-contiguous, little-endian, in the order of the head

A body is a sequence of frames, one for each image. A response has them in the order of its request.

A request frame has the array `image`, uint8 (h, w, 3), or in its head, as `shared`, a reference to an image in shared
memory (`service.tasks.shared_image`). Its head has `expires`, the Unix time in seconds after which the
result is no longer needed, and the `operation` (`service.tasks.base.Operation`) unless that is `predict`. If the
image's request is traced, it has `traceparent` and possibly `tracestate` (W3C Trace Context).

The head of a response frame has `ok`. If `ok` is true, the frame has the task's arrays. Its head has `batch` (images in
the forward pass), `inference_ms` and `worker_bytes` (resident memory of the worker, null if unknown). It also has
`identity`, the one of the worker's model (`service.models.identity`), and `engine` and `device` (what runs the model).
It has `halved`, true, if the batch did not fit into memory, and `draining`, true, if the worker will stop. If `ok` is
false, the head has `code` and `detail` of an error.
"""

import math
import struct
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

LENGTH = struct.Struct("<I")
DTYPES = {"uint8", "uint16", "float32"}

Array = npt.NDArray[Any]
Bytes = bytes | bytearray | memoryview
UnpackedFrame = tuple[dict[str, Any], dict[str, Array]]


class Runtime(NamedTuple):
    """What runs a model at a worker: the engine, as cards name it, and the kind of its device."""

    engine: str
    device: str


RUNTIMES: Final = (Runtime("openvino", "cpu"), Runtime("torch", "cpu"), Runtime("torch", "cuda"))


def pack(head: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> bytes:
    """Return the frame of `head` (JSON values) and `arrays`. Raises `ValueError` for a type that is not in `DTYPES`."""
    contiguous = {
        name: np.asarray(array, _dtype(array.dtype.name), order="C") for name, array in (arrays or {}).items()
    }
    described = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in contiguous.items()]
    encoded = orjson.dumps({**head, "arrays": described})
    return b"".join([LENGTH.pack(len(encoded)), encoded, *(array.data for array in contiguous.values())])


def unpack(frame: Bytes) -> UnpackedFrame:
    """Return the head and the arrays of a frame. The arrays are views of its bytes.

    Raises `ValueError` if the bytes are not exactly one frame.
    """
    view = memoryview(frame)
    opened, end = _unpack_at(view, 0)
    if end != len(view):
        raise ValueError(f"not a frame: {len(view) - end} bytes follow it")
    return opened


def unpack_all(frames: Bytes) -> list[UnpackedFrame]:
    """Return the heads and arrays of a body of one or more frames. Raises `ValueError` if the body is not valid."""
    view, end = memoryview(frames), 0
    found: list[UnpackedFrame] = []
    while end < len(view) or not found:
        opened, end = _unpack_at(view, end)
        found.append(opened)
    return found


def _unpack_at(view: memoryview, start: int) -> tuple[UnpackedFrame, int]:
    """Return the head and the arrays of the frame at `start`, and the position where it ends."""
    try:
        (length,) = LENGTH.unpack_from(view, start)
        end = start + LENGTH.size + length
        head = orjson.loads(view[start + LENGTH.size : end])
        arrays, end = _arrays(view, end, head.pop("arrays"))
    except (struct.error, orjson.JSONDecodeError, AttributeError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"not a frame: {error}") from error
    return (head, arrays), end


def _arrays(view: memoryview, start: int, described: list[dict[str, Any]]) -> tuple[dict[str, Array], int]:
    arrays: dict[str, Array] = {}
    for row in described:
        dtype = _dtype(row["dtype"])
        shape = tuple(int(side) for side in row["shape"])
        if any(side < 0 for side in shape):
            raise ValueError(f"not a frame: shape {shape}")
        count = math.prod(shape)
        if start + count * dtype.itemsize > len(view):
            raise ValueError(f"not a frame: it ends inside {row['name']}")
        arrays[row["name"]] = np.frombuffer(view, dtype, count, start).reshape(shape)
        start += count * dtype.itemsize
    return arrays, start


@cache
def _dtype(name: str) -> np.dtype[Any]:
    if name not in DTYPES:
        raise ValueError(f"not a frame: dtype {name}")
    return np.dtype(name).newbyteorder("<")
