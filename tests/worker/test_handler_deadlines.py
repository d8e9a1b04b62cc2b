"""The handler computes no image whose deadline has passed, neither on arrival nor after the wait for the engine."""

import logging
import logging.handlers
from pathlib import Path

from service.worker.handler import BatchHandler
from tests.worker.batches.test_batch import FakeEngine
from tests.worker.requests import context, flat, request
from tests.worker.test_handler import NOW, folder, heads, service_log, started

__all__ = ["folder", "service_log"]


def test_a_picture_that_nobody_waits_for_any_more_is_not_computed_and_its_neighbours_are(folder: Path) -> None:
    engine = FakeEngine()
    ends = (NOW + 5, NOW - 0.1, NOW)

    replies = started(folder, engine).handle([request(flat(7), expires=end) for end in ends], None)

    assert [head["ok"] for head in heads(replies)] == [True, False, True]
    assert heads(replies)[1]["code"] == "deadline_exceeded"
    assert heads(replies)[0]["batch"] == 2


def test_a_picture_that_expires_between_its_arrival_and_its_pass_is_not_computed_and_no_failure(
    folder: Path, service_log: logging.Logger
) -> None:
    engine, times = FakeEngine(), iter((NOW, NOW + 10))
    handler = BatchHandler(load=lambda _card, _device: engine, clock=lambda: next(times))
    handler.initialize(context(folder / "tiny-classifier"))
    engine.passes.clear()
    records = logging.handlers.MemoryHandler(capacity=100, flushLevel=logging.CRITICAL)
    service_log.addHandler(records)

    (head,) = heads(handler.handle([request(flat(7), expires=NOW + 5)], None))

    assert (head["ok"], head["code"]) == (False, "deadline_exceeded")
    assert engine.passes == []
    assert [record.levelname for record in records.buffer] == ["WARNING"]
