"""Several files at a time, and answers in the order of the files."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from service.cli.predict import inputs, runner
from service.cli.predict.failures import RunFailedError
from service.cli.predict.inputs import InputFile

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Slow:
    """A model that answers with the upload, the sooner the larger its number, and counts what is in progress."""

    concurrency = 4
    set_aside = 0

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass

    async def answer(self, upload: bytes, name: str = "") -> dict[str, Any]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.02 / (1 + int(upload)))
        finally:
            self.now -= 1
        if upload == b"13":
            raise RunFailedError("it is gone")
        return {"number": int(upload)}


def files(folder: Path, count: int) -> Iterator[InputFile]:
    for number in range(count):
        path = folder / f"{number}.png"
        path.write_text(str(number), encoding="ascii")
        yield inputs.of_file(path)


async def test_answers_come_in_the_order_of_the_files_and_few_are_in_progress(tmp_path: Path) -> None:
    model = Slow()

    found = [answer["number"] async for _, answer in runner.in_order(model, files(tmp_path, 12))]

    assert found == list(range(12))
    assert model.most == 4


async def test_a_file_that_cannot_be_read_is_an_answer(tmp_path: Path) -> None:
    answer = await runner.ask(Slow(), inputs.of_file(tmp_path / "none.png"))

    assert answer["error"]["code"] == "file_not_found"


async def test_a_run_that_fails_leaves_nothing_in_progress(tmp_path: Path) -> None:
    model = Slow()

    with pytest.raises(RunFailedError):
        async for _ in runner.in_order(model, files(tmp_path, 40)):
            pass

    assert model.now == 0
