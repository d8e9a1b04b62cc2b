"""Objects sent over a socket."""

import socket
import threading

import numpy as np
import pytest

from service.gateway.uploads import pickle_frames


def sent(value: object) -> object:
    """Send a value through a socket, and return it as received."""
    ours, theirs = socket.socketpair()
    with ours, theirs, theirs.makefile("rb") as incoming:
        thread = threading.Thread(target=pickle_frames.write, args=(ours, value))
        thread.start()
        arrived = pickle_frames.read(incoming)
        thread.join(30)
        return arrived


@pytest.mark.parametrize("value", [None, (1, "a"), {"k": b"short"}, [b"x" * 5_000_000]])
def test_a_value_arrives_as_it_was(value: object) -> None:
    assert sent(value) == value


def test_long_bytes_arrive_as_bytes() -> None:
    content = bytes(range(256)) * 10_000

    arrived = sent((pickle_frames.out_of_band(content), pickle_frames.out_of_band(b"short")))

    assert arrived == (content, b"short")
    assert isinstance(arrived, tuple)
    assert [type(each) for each in arrived] == [bytes, bytes]


def test_buffers_are_the_values_own_and_only_their_lengths_are_in_the_head() -> None:
    content, pixels = b"\x07" * 1_000_000, np.zeros((500, 400, 3), np.uint8)

    head, *buffers = pickle_frames.pack((pickle_frames.out_of_band(content), pixels))

    assert head.nbytes < 1000
    assert buffers[0].obj is content
    assert np.shares_memory(np.frombuffer(buffers[1], np.uint8), pixels)


@pytest.mark.parametrize("count", [0, 2, 3, 5, 9])
def test_what_is_left_to_send_is_all_behind_what_was_sent(count: int) -> None:
    parts = [memoryview(part) for part in (b"abc", b"", b"defgh", b"i")]

    assert b"".join(pickle_frames.remaining(parts, count)) == b"abcdefghi"[count:]


@pytest.mark.parametrize("cut", [0, 5])
def test_the_end_of_the_other_end_is_an_error(cut: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs, theirs.makefile("rb") as incoming:
        with ours:
            ours.sendall(b"\0" * cut)
        with pytest.raises(EOFError):
            pickle_frames.read(incoming)
