"""What a worker records for images whose requests are traced."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.tasks import frame
from service.worker.handler import BatchHandler
from tests.otlp import Received, receiving
from tests.stores import write_store
from tests.worker.batches.test_batch import POISON, FakeEngine, fail_on_poison
from tests.worker.requests import context, flat, request

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture(autouse=True)
def service_log() -> Iterator[None]:
    """Restore the logging of this process, which a worker changes."""
    log = logging.getLogger("service")
    before = log.handlers, log.propagate
    yield
    log.handlers, log.propagate = before


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with receiving() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
        monkeypatch.setenv("RESNEST_TRACES", "otlp")
        yield found


def started(tmp_path: Path) -> BatchHandler:
    store = write_store(tmp_path / "store", weights=False)
    handler = BatchHandler(load=lambda _card, _device: FakeEngine(fail_on_poison), clock=lambda: 0.0)
    handler.initialize(context(store / "tiny-classifier"))
    return handler


def test_traced_images_of_a_batch_have_the_span_of_the_batch_and_of_its_pass(
    tmp_path: Path, received: Received
) -> None:
    handler = started(tmp_path)
    before = time.time()
    other = SAMPLED.replace(TRACE, "f" * 32)
    batch = [request(flat(1), traceparent=SAMPLED), request(flat(2)), request(flat(3), traceparent=other)]

    replies = handler.handle(batch, context(tmp_path))

    assert [frame.unpack(reply)[0]["ok"] for reply in replies] == [True] * 3
    received.wait(lambda: len(received.spans) == 4)
    worker, forward = sorted(received.trace(TRACE), key=lambda span: span.name, reverse=True)
    assert (worker.name, worker.parent_id, worker.service) == ("worker", PARENT, "resnest-worker")
    assert (forward.name, forward.parent_id) == ("forward", worker.span_id)
    assert forward.attributes == {"resnest.model": "tiny-classifier", "resnest.batch_size": 3}
    assert before - 1 < worker.begun <= forward.begun <= forward.ended <= worker.ended + 0.001
    assert {span.trace_id for span in received.spans} == {TRACE, "f" * 32}


def test_an_image_on_which_the_model_fails_has_a_failed_span(tmp_path: Path, received: Received) -> None:
    handler = started(tmp_path)

    handler.handle([request(flat(POISON), traceparent=SAMPLED)], context(tmp_path))

    received.wait(lambda: received.spans)
    (span,) = received.spans
    assert (span.name, span.failed, span.attributes["error.type"]) == ("worker", True, "internal")


def test_a_refused_image_has_the_code_of_its_refusal(tmp_path: Path, received: Received) -> None:
    handler = started(tmp_path)

    handler.handle([request(flat(1), traceparent=SAMPLED, expires=-1)], context(tmp_path))

    received.wait(lambda: received.spans)
    assert received.spans[0].attributes["error.type"] == "deadline_exceeded"


@pytest.mark.usefixtures("received")
def test_an_image_without_or_with_a_wrong_parent_is_answered_alike(tmp_path: Path) -> None:
    handler = started(tmp_path)

    replies = handler.handle(
        [request(flat(1)), request(flat(1), traceparent="00-no"), request(flat(1), traceparent=7)], context(tmp_path)
    )

    scores = [frame.unpack(reply)[1]["scores"] for reply in replies]
    assert np.array_equal(scores, [[1], [1], [1]])


def test_a_worker_that_cannot_send_spans_says_so_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESNEST_TRACES", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    handler = started(tmp_path)

    (reply,) = handler.handle([request(flat(1), traceparent=SAMPLED)], context(tmp_path))

    assert frame.unpack(reply)[0]["ok"]
    assert "this worker sends no spans: OTEL_EXPORTER_OTLP_PROTOCOL must be one of" in capsys.readouterr().err
