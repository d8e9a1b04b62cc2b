"""Packed frames are unpacked as they were, and any other bytes only raise `ValueError`."""

import struct

import numpy as np
import numpy.typing as npt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.tasks import frame

Array = npt.NDArray[np.generic]

ARRAYS = st.dictionaries(
    st.text(max_size=8),
    hnp.arrays(
        st.sampled_from(sorted(frame.DTYPES)),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    max_size=4,
)
HEADS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "arrays"),
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=8),
    max_size=4,
)


def raw_frame(head: object, body: bytes = b"") -> bytes:
    encoded = orjson.dumps(head)
    return struct.pack("<I", len(encoded)) + encoded + body


@given(HEADS, ARRAYS)
def test_what_was_packed_is_unpacked(head: dict[str, object], arrays: dict[str, Array]) -> None:
    unpacked_head, unpacked = frame.unpack(frame.pack(head, arrays))
    assert unpacked_head == head
    assert list(unpacked) == list(arrays)
    for name, array in arrays.items():
        assert (unpacked[name].dtype.name, unpacked[name].shape) == (array.dtype.name, array.shape)
        np.testing.assert_array_equal(unpacked[name], array)


def test_the_frame_is_a_length_a_json_head_and_the_bytes_of_the_arrays() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    packed = frame.pack({"ok": True}, {"image": pixels})
    (length,) = struct.unpack_from("<I", packed)
    head = orjson.loads(packed[4 : 4 + length])
    assert head == {"ok": True, "arrays": [{"name": "image", "dtype": "uint8", "shape": [1, 2, 3]}]}
    assert packed[4 + length :] == bytes(range(6))


@given(st.lists(st.tuples(HEADS, ARRAYS), min_size=1, max_size=4))
def test_frames_behind_one_another_are_unpacked_in_their_order(
    packed: list[tuple[dict[str, object], dict[str, Array]]],
) -> None:
    opened = frame.unpack_all(b"".join(frame.pack(head, arrays) for head, arrays in packed))
    assert [head for head, _ in opened] == [head for head, _ in packed]
    for (_, unpacked), (_, arrays) in zip(opened, packed, strict=True):
        assert list(unpacked) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(unpacked[name], array)


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\0", b"\xff\xff\xff\xff{}", raw_frame([])])
def test_a_frame_with_something_else_behind_it_is_a_value_error(tail: bytes) -> None:
    with pytest.raises(ValueError, match="not a frame"):
        frame.unpack_all(frame.pack({}) + tail)


def test_a_body_of_nothing_has_no_frames() -> None:
    with pytest.raises(ValueError, match="not a frame"):
        frame.unpack_all(b"")


def test_a_head_may_stand_alone() -> None:
    assert frame.unpack(frame.pack({"ok": False, "code": "internal"})) == ({"ok": False, "code": "internal"}, {})


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_arrays_are_views_of_the_frame(kind: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    received = kind(frame.pack({}, {"mask": np.ones((3, 5), np.uint8)}))
    _, arrays = frame.unpack(received)
    assert np.shares_memory(arrays["mask"], np.frombuffer(received, np.uint8))


def test_an_array_that_is_not_contiguous_is_packed_in_its_own_order() -> None:
    turned = np.arange(6, dtype=np.uint16).reshape(2, 3).T
    _, arrays = frame.unpack(frame.pack({}, {"a": turned}))
    np.testing.assert_array_equal(arrays["a"], turned)


def test_numbers_of_the_other_byte_order_keep_their_values() -> None:
    _, arrays = frame.unpack(frame.pack({}, {"a": np.array([1, 515], ">u2"), "b": np.array([0.5], ">f4")}))
    assert (arrays["a"].tolist(), arrays["b"].tolist()) == ([1, 515], [0.5])


def test_an_array_of_another_type_is_not_packed() -> None:
    with pytest.raises(ValueError, match="float64"):
        frame.pack({}, {"a": np.zeros(3)})


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\0\0", id="no length"),
        pytest.param(b"\0\0\0\0", id="no head"),
        pytest.param(b"\xff\xff\xff\xff{}", id="a head longer than the frame"),
        pytest.param(raw_frame([]), id="a head that is a list"),
        pytest.param(raw_frame(None), id="a head that is null"),
        pytest.param(raw_frame({}), id="no arrays"),
        pytest.param(raw_frame({"arrays": 3}), id="arrays that are a number"),
        pytest.param(raw_frame({"arrays": [3]}), id="an array that is a number"),
        pytest.param(raw_frame({"arrays": [{"name": "a", "dtype": "uint8"}]}), id="no shape"),
        pytest.param(raw_frame({"arrays": [{"name": "a", "dtype": "object", "shape": [1]}]}, bytes(8)), id="objects"),
        pytest.param(raw_frame({"arrays": [{"name": "a", "dtype": [], "shape": [1]}]}, b"1"), id="a list for a dtype"),
        pytest.param(
            raw_frame({"arrays": [{"name": [], "dtype": "uint8", "shape": [1]}]}, b"1"), id="a list for a name"
        ),
        pytest.param(raw_frame({"arrays": [{"name": "a", "dtype": "uint8", "shape": ["x"]}]}), id="letters for a side"),
        pytest.param(raw_frame({"arrays": [{"name": "a", "dtype": "uint8", "shape": [-1]}]}), id="a negative side"),
        pytest.param(
            raw_frame({"arrays": [{"name": "a", "dtype": "uint8", "shape": [2**62, 4]}]}), id="more than there is"
        ),
        pytest.param(
            raw_frame({"arrays": [{"name": "a", "dtype": "uint8", "shape": [0, 10**19]}]}), id="a side past 64 bits"
        ),
        pytest.param(raw_frame({"arrays": [{"name": "a", "dtype": "uint8", "shape": [1] * 99}]}, b"1"), id="99 axes"),
        pytest.param(raw_frame({"arrays": []}, b"1"), id="a byte too many"),
    ],
)
def test_what_is_no_whole_frame_is_a_value_error(received: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        frame.unpack(received)


@given(HEADS, ARRAYS, st.data())
def test_a_cut_frame_is_a_value_error(head: dict[str, object], arrays: dict[str, Array], data: st.DataObject) -> None:
    packed = frame.pack(head, arrays)
    with pytest.raises(ValueError):  # noqa: PT011 - where it was cut decides the words
        frame.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(HEADS, ARRAYS, st.data())
def test_a_changed_frame_is_unpacked_or_a_value_error(
    head: dict[str, object], arrays: dict[str, Array], data: st.DataObject
) -> None:
    packed = bytearray(frame.pack(head, arrays))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        _, unpacked = frame.unpack(bytes(packed))
    except ValueError:
        return
    assert sum(array.nbytes for array in unpacked.values()) <= len(packed)
