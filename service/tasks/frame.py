"""The frame that gateway and worker exchange: a JSON head, then the arrays it names as raw bytes.

    4 bytes  length of the head, little-endian
    head     {"arrays": [{"name", "dtype", "shape"}, ...], ...}
    arrays   C-contiguous, little-endian, in the head's order

A body is one frame after another, one for each image, in the same order both ways.

A request carries the array `image`, uint8 (h, w, 3), and in its head `expires`, the Unix time in seconds after which
nobody waits for the answer, and, where it is not `predict`, the `operation` (`service.tasks.base.Operation`). An
answer's head has `ok`: true with the task's arrays, `batch` (pictures in the forward pass), `inference_ms` and
`worker_bytes` (of the worker in memory; null where that is not known); or false with `code` and `detail` of an error.
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

LENGTH = struct.Struct("<I")
DTYPES = {"uint8", "uint16", "float32"}

Array = npt.NDArray[Any]
Bytes = bytes | bytearray | memoryview
Opened = tuple[dict[str, Any], dict[str, Array]]


def pack(head: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> bytes:
    """The frame of `head` (JSON values) and `arrays` of the types in `DTYPES`; another type is a `ValueError`."""
    contiguous = {
        name: np.asarray(array, _dtype(array.dtype.name), order="C") for name, array in (arrays or {}).items()
    }
    described = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in contiguous.items()]
    encoded = orjson.dumps({**head, "arrays": described})
    return b"".join([LENGTH.pack(len(encoded)), encoded, *(array.data for array in contiguous.values())])


def unpack(frame: Bytes) -> Opened:
    """The head and arrays of a frame, as views of its bytes.

    Raises `ValueError` for bytes that are no whole frame.
    """
    view = memoryview(frame)
    opened, end = _opened(view, 0)
    if end != len(view):
        raise ValueError(f"not a frame: {len(view) - end} bytes too many")
    return opened


def unpack_all(frames: Bytes) -> list[Opened]:
    """The heads and arrays of the frames, at least one, that a body is made of. Raises as `unpack`."""
    view, end = memoryview(frames), 0
    found: list[Opened] = []
    while end < len(view) or not found:
        opened, end = _opened(view, end)
        found.append(opened)
    return found


def _opened(view: memoryview, start: int) -> tuple[Opened, int]:
    """What the frame at `start` holds, and where it ends."""
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
        count = int(np.prod(shape, dtype=object))
        if start + count * dtype.itemsize > len(view):
            raise ValueError(f"not a frame: it ends inside {row['name']}")
        arrays[row["name"]] = np.frombuffer(view, dtype, count, start).reshape(shape)
        start += count * dtype.itemsize
    return arrays, start


def _dtype(name: str) -> np.dtype[Any]:
    if name not in DTYPES:
        raise ValueError(f"not a frame: dtype {name}")
    return np.dtype(name).newbyteorder("<")
