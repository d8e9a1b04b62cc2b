"""The frames that a worker receives and sends."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import DeadlineExceeded, Internal
from service.models import cards
from service.models.cards import CardError
from service.tasks import frame
from service.tasks.frame import Runtime
from service.worker import exchange
from service.worker.batches.batch import BatchedOutput
from service.worker.exchange import RejectedImageError
from tests.stores import write_store
from tests.worker.requests import flat, request


def test_a_body_holds_one_frame_after_another() -> None:
    body = request(flat(1), expires=5)["body"] + request(flat(2))["body"]
    first, second = exchange.opened({"body": body})

    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert first[0]["expires"] == 5
    assert [arrays["image"][0, 0, 0] for _, arrays in (first, second)] == [1, 2]


@pytest.mark.parametrize("sent", [{}, {"body": "text"}, {"body": None}, {"body": bytearray(b"\xff\xd8\xff\xe0")}])
def test_another_body_is_one_rejection(sent: dict[str, Any]) -> None:
    (rejection,) = exchange.opened(sent)

    assert isinstance(rejection, RejectedImageError)
    assert (str(rejection), rejection.code) == (exchange.NO_IMAGE, Internal.code())


def test_an_output_is_sent_with_its_batch_its_time_and_the_memory_of_the_worker() -> None:
    output = BatchedOutput({"scores": np.array([0.25, 0.75], np.float32)}, 3, 1.23456)
    head, arrays = frame.unpack(exchange.reply(output, 4096))

    assert {name: head[name] for name in ("ok", "batch", "inference_ms", "worker_bytes")} == {
        "ok": True,
        "batch": 3,
        "inference_ms": 1.235,
        "worker_bytes": 4096,
    }
    assert arrays["scores"].tolist() == [0.25, 0.75]


@pytest.mark.parametrize("is_halved", [False, True])
def test_an_output_says_what_runs_the_model_and_whether_its_batch_was_halved(*, is_halved: bool) -> None:
    output = BatchedOutput({}, 1, 1.0, is_halved=is_halved)
    head, _ = frame.unpack(exchange.reply(output, None, Runtime("torch", "cuda")))

    assert (head["engine"], head["device"], head.get("halved", False)) == ("torch", "cuda", is_halved)


def test_an_output_says_of_which_model_it_is_where_that_is_known() -> None:
    output = BatchedOutput({}, 1, 1.0)
    (named, _), (unnamed, _) = (frame.unpack(exchange.reply(output, None, identity=each)) for each in ("a1", None))

    assert named["identity"] == "a1"
    assert "identity" not in unnamed


def test_an_exception_is_sent_without_its_text() -> None:
    head, arrays = frame.unpack(exchange.reply(RuntimeError("a path on this machine"), None))

    assert (head["ok"], head["code"]) == (False, "internal")
    assert "path" not in head["detail"]
    assert arrays == {}


def test_an_output_of_a_type_that_a_frame_does_not_hold_fails_alone() -> None:
    output = BatchedOutput({"ids": np.array([1], np.int64)}, 1, 1.0)
    head, arrays = frame.unpack(exchange.reply(output, None))

    assert (head["ok"], head["code"], arrays) == (False, "internal", {})


def test_a_model_with_outputs_that_a_frame_does_not_hold_is_refused(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")
    exchange.check_types(card, {name: [np.zeros(2, name)] for name in frame.DTYPES})

    with pytest.raises(CardError, match=r"tiny-classifier: its outputs are .*int64.*; a frame holds only float32"):
        exchange.check_types(card, {"scores": [np.zeros(2, np.float32)], "ids": [np.zeros(2, np.int64)]})


def test_a_failure_has_the_code_of_its_problem() -> None:
    head, _ = frame.unpack(exchange.failure("too late", DeadlineExceeded.code()))

    assert (head["code"], head["detail"]) == ("deadline_exceeded", "too late")
