"""The handler returns a reply for every image, and no reply depends on the other images of a request."""

import dataclasses
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.engines import Images
from service.host.torchserve_log import CANNOT_LOAD
from service.models import cards
from service.models.cards import CardError
from service.models.identity import identity
from service.tasks import PREDICT, frame, operation_of
from service.worker.handler import BatchHandler
from tests.stores import write_store
from tests.worker.batches.test_batch import POISON, FakeEngine, fail_on_poison
from tests.worker.requests import context, flat, request

NOT_IMAGES: list[Any] = [
    {},
    {"body": {"image": "decoded JSON"}},
    {"body": "text"},
    {"body": bytearray()},
    {"body": bytearray(b"\xff\xd8\xff\xe0 a JPEG")},
    {"body": bytearray(frame.pack({}))},
    request(flat(0), expires="soon"),
    request(flat(0), expires=None),
    request(flat(0).astype(np.float32)),
    request(flat(0)[0]),
    request(np.zeros((64, 64, 4), np.uint8)),
    request(np.zeros((0, 64, 3), np.uint8)),
    request(flat(0, side=65)),
    request(np.zeros((64, 32, 3), np.uint8)),
]


@pytest.fixture(autouse=True)
def service_log() -> Iterator[logging.Logger]:
    """Return the package's logger, and restore it later: a worker changes the logging of its process."""
    log = logging.getLogger("service")
    before = log.handlers, log.propagate
    yield log
    log.handlers, log.propagate = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return models without weights, because the engines of these handlers are fakes."""
    return write_store(tmp_path_factory.mktemp("store"), weights=False)


NOW = 1_700_000_000.0


def started(folder: Path, engine: FakeEngine, name: str = "tiny-classifier") -> BatchHandler:
    """Return a handler after `initialize`."""
    handler = BatchHandler(load=lambda _card, _device: engine, clock=lambda: NOW)
    handler.initialize(context(folder / name))
    return handler


def heads(replies: list[bytes]) -> list[dict[str, Any]]:
    return [frame.unpack(reply)[0] for reply in replies]


def scores(replies: list[bytes]) -> list[Any]:
    return [frame.unpack(reply)[1].get("scores") for reply in replies]


def test_every_place_gets_the_answer_to_its_own_picture(folder: Path) -> None:
    engine = FakeEngine()
    replies = started(folder, engine).handle([request(flat(grey)) for grey in (3, 1, 2)], None)
    assert [type(reply) for reply in replies] == [bytes] * 3
    assert scores(replies) == [3, 1, 2]
    for head in heads(replies):
        assert head["ok"] is True
        assert head["batch"] == 3
        assert head["inference_ms"] >= 0


def test_an_answer_says_of_which_files_its_model_is(folder: Path) -> None:
    handler = started(folder, FakeEngine())

    (head,) = heads(handler.handle([request(flat(1))], None))

    assert head["identity"] == identity(cards.read(folder / "tiny-classifier"))


def test_a_request_may_hold_several_pictures_and_gets_as_many_answers(folder: Path) -> None:
    engine = FakeEngine()
    handler = started(folder, engine)
    engine.passes.clear()
    several = {"body": bytearray(b"".join(request(flat(grey))["body"] for grey in (3, 1, 2)))}
    first, second, third = handler.handle([several, {"body": bytearray(b"nothing")}, request(flat(7))], None)
    unpacked = frame.unpack_all(first)
    assert [arrays["scores"] for _, arrays in unpacked] == [3, 1, 2]
    assert {head["batch"] for head, _ in unpacked} == {4}
    assert [head["ok"] for head in heads([second, third])] == [False, True]
    assert engine.passes == [4]


def test_more_pictures_than_a_batch_holds_are_run_in_several(folder: Path) -> None:
    engine = FakeEngine()
    handler = started(folder, engine)
    engine.passes.clear()
    replies = handler.handle([request(flat(grey)) for grey in range(19)], None)
    assert scores(replies) == list(range(19))
    assert engine.passes == [8, 8, 3]


def test_an_operation_with_smaller_batches_is_run_in_more_of_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = dataclasses.replace(operation_of(cards.read(folder / "tiny-classifier"), PREDICT), batch_size=lambda _: 3)
    monkeypatch.setattr("service.worker.handler.operation_of", lambda *_: predict)
    engine = FakeEngine()
    handler = started(folder, engine)
    engine.passes.clear()

    assert scores(handler.handle([request(flat(grey)) for grey in range(7)], None)) == list(range(7))
    assert engine.passes == [3, 3, 1]


def test_an_empty_batch_gets_no_answers(folder: Path) -> None:
    assert started(folder, FakeEngine()).handle([], None) == []


@pytest.mark.parametrize("bad", NOT_IMAGES)
def test_what_is_no_picture_of_the_model_is_refused_alone(folder: Path, bad: Any) -> None:
    engine = FakeEngine()
    handler = started(folder, engine)
    engine.passes.clear()
    replies = handler.handle([request(flat(1)), bad, request(flat(3))], None)
    assert [head["ok"] for head in heads(replies)] == [True, False, True]
    assert heads(replies)[1]["code"] == "internal"
    assert heads(replies)[1]["detail"]
    assert engine.passes == [2]


def test_a_batch_of_nothing_but_refusals_runs_no_forward_pass(folder: Path) -> None:
    engine = FakeEngine()
    handler = started(folder, engine)
    engine.passes.clear()
    replies = handler.handle(NOT_IMAGES, None)
    assert len(replies) == len(NOT_IMAGES)
    assert not any(head["ok"] for head in heads(replies))
    assert engine.passes == []


def test_pictures_of_each_shape_share_a_forward_pass(folder: Path) -> None:
    engine = FakeEngine()
    handler = started(folder, engine, "tiny-segmenter")
    engine.passes.clear()
    shapes = [(64, 48), (48, 64), (64, 48), (64, 64), (48, 64)]
    replies = handler.handle([request(np.full((*shape, 3), grey, np.uint8)) for grey, shape in enumerate(shapes)], None)
    assert sorted(engine.passes) == [1, 2, 2]
    assert scores(replies) == [0, 1, 2, 3, 4]
    assert [head["batch"] for head in heads(replies)] == [2, 2, 2, 1, 2]


def test_a_picture_the_model_fails_on_fails_alone(folder: Path, service_log: logging.Logger) -> None:
    handler = started(folder, FakeEngine(fail_on_poison))
    records = logging.handlers.MemoryHandler(capacity=100, flushLevel=logging.CRITICAL)
    service_log.handlers = [records]
    replies = handler.handle([request(flat(grey)) for grey in (1, POISON, 3, POISON)], None)
    assert [head["ok"] for head in heads(replies)] == [True, False, True, False]
    assert heads(replies)[1] == {"ok": False, "code": "internal", "detail": "The model failed on this image."}
    assert [each[0] for each in scores(replies) if each is not None] == [1, 3]
    (record,) = records.buffer
    assert (vars(record)["failed"], vars(record)["images"]) == ([1, 3], 4)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


def test_it_is_warmed_up_with_batches_up_to_a_full_one_before_the_first_request(folder: Path) -> None:
    engine = FakeEngine()
    started(folder, engine)
    assert engine.passes == [1, 2, 4, 8]
    assert cards.read(folder / "tiny-classifier").serving.batch_size == 8


@pytest.mark.parametrize(("gpu", "device"), [(None, None), (0, "cuda:0"), (3, "cuda:3")])
def test_the_engine_gets_the_device_that_torchserve_names_or_the_choice(
    folder: Path, gpu: int | None, device: str | None
) -> None:
    devices: list[str | None] = []

    def load(_card: cards.ModelCard, where: str | None) -> FakeEngine:
        devices.append(where)
        return FakeEngine()

    BatchHandler(load).initialize(context(folder / "tiny-classifier", gpu))
    assert devices == [device]


def test_a_worker_that_cannot_load_says_why_in_one_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CardError):
        BatchHandler().initialize(context(folder / "tiny-classifier"))
    (line,) = capfd.readouterr().err.splitlines()
    assert CANNOT_LOAD in line
    assert "weights.safetensors" in line


def test_a_worker_whose_first_batch_fails_says_so_too(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(_pictures: Images) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        started(folder, FakeEngine(fail))
    (line,) = capfd.readouterr().err.splitlines()
    assert CANNOT_LOAD in line
    assert "MemoryError" in line


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    card = write_store(tmp_path, "tiny-segmenter", weights=False) / "tiny-segmenter" / "card.toml"
    card.write_text(card.read_text(encoding="utf-8").replace('"segmentation"', '"depth"', 1), encoding="utf-8")
    with pytest.raises(CardError, match="tiny-segmenter: task: there is no task 'depth'"):
        BatchHandler().initialize(context(card.parent))


def test_answers_are_copied_out_of_the_batch(folder: Path) -> None:
    class Reusing(FakeEngine):
        """An engine that returns the same memory each time."""

        memory = np.zeros((8, 1), np.float32)

        def __call__(self, images: Images) -> dict[str, Any]:
            self.memory[: len(images)] = super().__call__(images)["scores"]
            return {"scores": self.memory[: len(images)]}

    handler = started(folder, Reusing())
    first = handler.handle([request(flat(5))], None)
    handler.handle([request(flat(6))], None)
    assert scores(first) == [5]


def operation_request(operation: str, grey: int) -> dict[str, Any]:
    return {"body": bytearray(frame.pack({"operation": operation}, {"image": flat(grey)}))}


def test_other_questions_share_the_batch_and_get_their_own_pass(folder: Path) -> None:
    engine = FakeEngine()
    passes: list[tuple[str, int]] = []
    loads: list[str | None] = []

    def load_eager(_card: cards.ModelCard, device: str | None) -> Any:
        loads.append(device)

        def run(operation: str, images: Images) -> dict[str, Any]:
            passes.append((operation, len(images)))
            return {"embedding": -images[:, 0, 0, :1].astype(np.float32)}

        return run

    handler = BatchHandler(lambda _card, _device: engine, load_eager=load_eager)
    handler.initialize(context(folder / "tiny-classifier"))
    assert loads == []
    engine.passes.clear()
    replies = handler.handle(
        [
            request(flat(1)),
            operation_request("embed", 2),
            request(flat(3)),
            operation_request("embed", 4),
            operation_request("predict_confidence", 5),
        ],
        None,
    )
    handler.handle([operation_request("embed", 6)], None)
    assert (engine.passes, passes, loads) == ([2], [("embed", 2), ("embed", 1)], [None])
    unpacked = [frame.unpack(reply)[1] for reply in replies]
    assert [float(next(iter(arrays.values()))[0]) for arrays in unpacked[:4]] == [1, -2, 3, -4]
    assert heads(replies)[4]["ok"] is False


def test_a_question_whose_network_cannot_be_loaded_fails_alone(folder: Path) -> None:
    def load_eager(_card: cards.ModelCard, _device: str | None) -> Any:
        raise CardError("the weights went away")

    handler = BatchHandler(lambda _card, _device: FakeEngine(), load_eager=load_eager)
    handler.initialize(context(folder / "tiny-classifier"))
    replies = handler.handle([request(flat(1)), operation_request("embed", 2)], None)
    assert [head["ok"] for head in heads(replies)] == [True, False]
