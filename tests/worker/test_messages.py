"""Messages are read and written as TorchServe encodes them, and broken ones are refused."""

import io
from pathlib import Path

import pytest

from service.worker import messages
from service.worker.messages import BatchRequest, LoadMessage
from tests.worker.torchserve_side import batch_message, load_message


def read(content: bytes) -> LoadMessage | list[BatchRequest]:
    return messages.read(io.BufferedReader(io.BytesIO(content)))


@pytest.mark.parametrize(("gpu", "expected"), [(-1, None), (0, 0), (3, 3)])
def test_a_load_message_names_model_folder_handler_and_gpu(gpu: int, expected: int | None) -> None:
    folder = Path("models", "größe")
    assert read(load_message(folder, "resnest", "some.handler", gpu)) == LoadMessage(
        "resnest", str(folder), "some.handler", expected
    )


def test_a_batch_has_the_bodies_of_its_requests_in_order() -> None:
    large = bytes(range(256)) * 5000
    requests = read(batch_message(b"", b"one", large))
    assert isinstance(requests, list)
    assert [request.name for request in requests] == [b"0", b"1", b"2"]
    assert [request.bodies for request in requests] == [{"body": b""}, {"body": b"one"}, {"body": large}]


@pytest.mark.parametrize("length", [0, 1, 3, 30, -1, -5])
def test_a_message_that_ends_early_is_the_end_of_the_connection(length: int) -> None:
    message = batch_message(b"a body")
    with pytest.raises(EOFError):
        read(message[:length])


def test_another_message_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        read(b"X")


def test_a_reply_says_the_status_of_the_batch_and_of_each_request() -> None:
    assert messages.reply(503, "no", [b"id"], [b"body"]).hex(" ", -4) == (
        "000001f7 00000002 6e6f0000 00026964 00000000 000001f7 00000000 00000000 00000004 626f6479 ffffffff"
    )
    assert messages.reply(200, "").hex(" ", -4) == "000000c8 00000000 ffffffff"
