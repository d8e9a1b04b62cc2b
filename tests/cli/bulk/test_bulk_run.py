"""The loop of a bulk run, with models whose behaviour the tests choose."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

import pytest
from aiohttp import web

from service.cli.bulk import bulk_run, results_file
from service.cli.bulk.bulk_run import FixedLimit
from service.cli.bulk.concurrency_limit import ConcurrencyLimit
from service.cli.bulk.results_file import ResultsFile
from service.cli.predict import inputs, remote_model
from service.cli.predict.failures import RunFailedError
from service.cli.predict.inputs import InputFile
from service.cli.predict.remote_model import RemoteModel, ServiceAccess
from service.tasks import endpoints
from tests.cli.predict.scripted_service import answered, problem, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Counting:
    """A model that answers the more slowly the larger the number, and fails at `fails_at`."""

    concurrency = 1
    set_aside = 0

    def __init__(self, fails_at: int = -1) -> None:
        self.now = self.most = 0
        self._fails_at = fails_at

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass

    async def answer(self, upload: bytes, name: str = "") -> dict[str, Any]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(int(upload) / 1000)
        finally:
            self.now -= 1
        if int(upload) == self._fails_at:
            raise RunFailedError("it is gone")
        return {"number": int(upload)}


class Unread:
    """A file to write that is empty to a reader."""

    def __init__(self, file: IO[bytes]) -> None:
        self.fileno = file.fileno

    def seek(self, _position: int) -> None:
        pass

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


def files(folder: Path, count: int) -> Iterator[InputFile]:
    for number in range(count):
        path = folder / f"{number}.png"
        path.write_text(str(number), encoding="ascii")
        yield inputs.of_file(path)


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_every_input_has_one_line_and_the_limit_is_kept(tmp_path: Path) -> None:
    model, out = Counting(), tmp_path / "results.jsonl"
    steps: list[tuple[int, int]] = []
    with results_file.opened(out, {}) as results:
        await bulk_run.run(model, files(tmp_path, 30), results, FixedLimit(5), lambda *step: steps.append(step))

    assert sorted(each["number"] for each in written(out)) == list(range(30))
    assert model.most == 5
    assert steps == [(1, 0)] * 30


async def test_a_file_that_cannot_be_read_is_a_line(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    with results_file.opened(out, {}) as results:
        missing = [inputs.of_file(tmp_path / "none.png")]
        await bulk_run.run(Counting(), missing, results, FixedLimit(1), lambda *_step: None)

        assert results.failed == 1
    assert [each["error"]["code"] for each in written(out)] == ["file_not_found"]


async def test_a_run_that_fails_keeps_what_was_answered_and_starts_nothing_more(tmp_path: Path) -> None:
    model, out = Counting(fails_at=6), tmp_path / "results.jsonl"
    with results_file.opened(out, {}) as results, pytest.raises(RunFailedError):
        await bulk_run.run(model, files(tmp_path, 100), results, FixedLimit(3), lambda *_step: None)

    kept = {each["number"] for each in written(out)}
    assert {0, 1, 2, 3, 4, 5} <= kept <= {0, 1, 2, 3, 4, 5, 7, 8}  # 7 and 8 were in flight, and may end with 6
    assert model.now == 0


async def test_a_full_disk_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230 - it does not block
        results = ResultsFile(tmp_path / "results.jsonl", Unread(full))
        with pytest.raises(RunFailedError, match="cannot be written: No space left on device"):
            await bulk_run.run(Counting(), files(tmp_path, 1), results, FixedLimit(1), lambda *_step: None)


class Rejecting(Counting):
    """A model that sets images below `good` aside, and answers them after all others."""

    def __init__(self, good: int, count: int) -> None:
        super().__init__()
        self._good = good
        self._left = count - good
        self._all_answered = asyncio.Event()

    async def answer(self, upload: bytes, name: str = "") -> dict[str, Any]:
        if int(upload) >= self._good:
            self._left -= 1
            if not self._left:
                self._all_answered.set()
            return {"number": int(upload)}
        self.set_aside += 1
        await self._all_answered.wait()
        self.set_aside -= 1
        return {"error": {"code": "overloaded"}}


async def test_images_that_are_set_aside_let_the_others_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_run, "CHECK_S", 0.01)
    out = tmp_path / "results.jsonl"
    with results_file.opened(out, {}) as results:
        async with asyncio.timeout(30):
            limit = ConcurrencyLimit(8)  # which begins with one request
            await bulk_run.run(Rejecting(3, 20), files(tmp_path, 20), results, limit, lambda *_step: None)

    found = written(out)
    assert sorted(each["number"] for each in found if "number" in each) == list(range(3, 20))
    assert [each["error"]["code"] for each in found if "error" in each] == ["overloaded"] * 3


async def test_an_image_that_the_service_rejects_for_ever_has_its_problem_and_the_others_have_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("FIRST_PAUSE_S", 0.01), ("LONGEST_PAUSE_S", 0.1)):
        monkeypatch.setattr(remote_model, name, seconds)
    monkeypatch.setattr(bulk_run, "CHECK_S", 0.01)
    limit = ConcurrencyLimit(8)

    async def answer(request: web.Request) -> web.Response:
        return problem(503, "overloaded") if await request.read() == b"0" else answered()

    async with serving(answer) as url:
        model = RemoteModel(ServiceAccess(url, patience_s=1), endpoints()["classify"], {}, limit)
        async with model:
            for name, count in (("all.jsonl", 40), ("alone.jsonl", 1)):
                with results_file.opened(tmp_path / name, {}) as results:
                    await bulk_run.run(model, files(tmp_path, count), results, limit, lambda *_step: None)

    for name, count in (("all.jsonl", 40), ("alone.jsonl", 1)):
        found = written(tmp_path / name)
        assert len(found) == count
        problems = [(each["file"], each["error"]["code"]) for each in found if "error" in each]
        assert problems == [(str(tmp_path / "0.png"), "overloaded")]


async def test_no_more_images_than_the_most_are_in_memory_whatever_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_run, "CHECK_S", 0.01)
    model, begun = Rejecting(100, 200), 0

    def counted() -> Iterator[InputFile]:
        nonlocal begun
        for file in files(tmp_path, 100):
            begun += 1
            yield file

    with results_file.opened(tmp_path / "results.jsonl", {}) as results, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await bulk_run.run(model, counted(), results, ConcurrencyLimit(2), lambda *_step: None)

    assert begun == 2


def test_a_fixed_limit_is_the_most_too() -> None:
    limit = FixedLimit(3)

    assert (limit.current, limit.most, limit.pause_s) == (3, 3, 0.0)
