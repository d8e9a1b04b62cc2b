"""The command `bulk` as a process of its own, which is killed and continued, before a real gateway."""
# ruff: noqa: F401, F811 - the fixtures are those of the gateway's tests

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

from service.cli.bulk import bulk_command
from service.cli.bulk.bulk_run import FixedLimit
from service.cli.main import main
from service.host.processes import free_port
from tests.gateway.conftest import (
    Running,
    anyio_backend,
    fake,
    listening,
    served,
    settings,
    short_folder,
    store,
    until,
)
from tests.gateway.fixtures.images import image_bytes
from tests.stores import write_store

pytestmark = pytest.mark.anyio

COUNT = 40
MANY = 200  # so many that a run takes seconds, and can be killed three times


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return written(tmp_path / "photos", COUNT)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return written(tmp_path / "many", MANY)


def written(folder: Path, count: int) -> Path:
    """Return a new folder of images, of which every 20th is broken."""
    folder.mkdir()
    for number in range(count):
        whole = image_bytes(number)
        (folder / f"{number:03}.png").write_bytes(whole[:100] if number % 20 == 0 else whole)
    return folder


async def started(url: str, *arguments: str | Path) -> asyncio.subprocess.Process:
    words = ["-m", "service", "bulk", "--url", url, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESNEST_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, *words, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def ended(url: str, *arguments: str | Path) -> tuple[int | None, bytes]:
    """Return the exit code and the standard error of a run that nothing disturbs."""
    process = await started(url, *arguments)
    _, said = await process.communicate()
    return process.returncode, said


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def names_in(folder: Path) -> list[str]:
    return [str(path) for path in folder.iterdir()]


def documents(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_a_run_that_is_killed_again_and_again_has_one_line_for_each_input_in_the_end(
    listening: Running, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        url, killed = str(client.base_url), 0
        for share in (0.1, 0.4, 0.7):
            process = await started(url, many, "--out", out, "--query", "top_k=2")
            await until(lambda: lines(out) >= share * MANY or process.returncode is not None, 60)  # noqa: B023
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            await process.communicate()
        last = await started(url, many, "--out", out, "--query", "top_k=2")
        _, said = await last.communicate()

    found = documents(out)
    assert killed >= 2
    assert last.returncode == 3, said
    assert Counter(each["file"] for each in found) == Counter(names_in(many))
    assert sum("error" in each for each in found) == MANY // 20
    assert all(len(each["predictions"]) == 2 for each in found if "error" not in each)
    assert f"{MANY} inputs" in said.decode()


async def test_a_run_that_is_complete_asks_nothing_and_new_files_are_added(
    listening: Running, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        await ended(str(client.base_url), photos, "--out", out)
        before = out.read_bytes()
        await ended(str(client.base_url), photos, "--out", out)
        assert out.read_bytes() == before
        (photos / "new.png").write_bytes(image_bytes())
        await ended(str(client.base_url), photos, "--out", out)

    assert out.read_bytes().startswith(before)
    assert documents(out)[-1]["file"] == str(photos / "new.png")
    assert lines(out) == COUNT + 1


async def test_problems_can_be_asked_again(listening: Running, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        await ended(str(client.base_url), photos, "--out", out)
        for number in range(0, COUNT, 20):
            (photos / f"{number:03}.png").write_bytes(image_bytes(number))
        code, _ = await ended(str(client.base_url), photos, "--out", out, "--retry-failed")

    assert code == 0
    assert len({each["file"] for each in documents(out)}) == lines(out) == COUNT


async def test_problems_keep_their_lines_where_no_service_can_be_asked_again(
    listening: Running, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        await ended(str(client.base_url), photos, "--out", out)
    before = out.read_bytes()

    code, said = await ended(f"http://127.0.0.1:{free_port()}", photos, "--out", out, "--retry-failed")

    assert code == 1
    assert b"cannot be asked" in said
    assert out.read_bytes() == before


async def test_another_question_needs_another_file(listening: Running, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        await ended(str(client.base_url), photos, "--out", out)
        code, said = await ended(str(client.base_url), photos, "--out", out, "--query", "top_k=1")

    assert code == 1
    assert b"has the results of another run" in said


def test_the_same_names_in_another_folder_are_not_taken_for_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = write_store(tmp_path / "models", "tiny-segmenter")
    words = ["bulk", "photos", "--task", "segment", "--query", "mask=none", "--local", "--store", str(models)]
    for name in ("first", "second"):
        (tmp_path / name / "photos").mkdir(parents=True)
        (tmp_path / name / "photos" / "a.png").write_bytes(image_bytes())

    monkeypatch.chdir(tmp_path / "first")
    assert CliRunner().invoke(main, [*words, "--out", str(tmp_path / "r.jsonl")]).exit_code == 0
    monkeypatch.chdir(tmp_path / "second")
    refused = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "r.jsonl")])

    assert refused.exit_code == 1
    assert 'with folder "first"' in refused.output
    assert lines(tmp_path / "r.jsonl") == 1


def test_a_model_in_this_process_does_the_same(photos: Path, tmp_path: Path) -> None:
    models = write_store(tmp_path / "models", "tiny-segmenter")
    words = [str(photos), "--task", "segment", "--query", "mask=none", "--local", "--store", str(models)]

    result = CliRunner().invoke(main, ["bulk", *words, "--out", str(tmp_path / "r.jsonl")])

    assert result.exit_code == 3, result.output
    assert lines(tmp_path / "r.jsonl") == COUNT


def local(models: Path, out: Path, *inputs: Path | str) -> Result:
    """Run `bulk` with the segmenter of a store in this process."""
    words = ["--task", "segment", "--query", "mask=none", "--local", "--store", str(models), "--out", str(out)]
    return CliRunner().invoke(main, ["bulk", *map(str, inputs), *words])


def few_photos(folder: Path) -> Path:
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(image_bytes())
    return folder


def test_answers_of_another_version_end_the_run_and_can_be_accepted(tmp_path: Path) -> None:
    models, out = write_store(tmp_path / "models", "tiny-segmenter"), tmp_path / "r.jsonl"
    few = few_photos(tmp_path / "photos")
    assert local(models, out, few).exit_code == 0
    card = models / "tiny-segmenter" / "card.toml"
    card.write_text(card.read_text(encoding="utf-8").replace('version = "1.0"', 'version = "2.0"'), encoding="utf-8")
    (few / "d.png").write_bytes(image_bytes())

    refused = local(models, out, few)

    assert refused.exit_code == 1
    assert "the answers are of tiny-segmenter 2.0 now" in refused.output
    assert "has answers of tiny-segmenter 1.0; name another file" in refused.output
    assert lines(out) == 3
    assert local(models, out, few, "--mix-models").exit_code == 0
    assert [each["model"]["version"] for each in documents(out)] == ["1.0", "1.0", "1.0", "2.0"]


class Changing:
    """A model before whose first answer a folder changes."""

    concurrency = 1
    set_aside = 0

    def __init__(self, change: Callable[[], object]) -> None:
        self._change = change

    async def __aenter__(self) -> Self:
        self._change()
        return self

    async def __aexit__(self, *_error: object) -> None:
        pass

    async def answer(self, _upload: bytes, name: str = "") -> dict[str, Any]:
        return {"predictions": []}


async def test_files_that_come_and_go_during_a_run_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, out = few_photos(tmp_path / "photos"), tmp_path / "r.jsonl"
    inputs = [str(few), f"{few}/*.png"]
    names, left_out = bulk_command.find_names(inputs)
    run = bulk_command.BulkRun(inputs, names, left_out, out, {"task": "classify"}, retry_failed=False, mix_models=False)

    def change() -> None:
        (few / "a.png").unlink()
        (few / "notes.txt").write_text("no image", encoding="utf-8")
        (few / "new.png").write_bytes(image_bytes())

    complete = await run.ask_all(Changing(change), FixedLimit(1))

    said = capsys.readouterr().err
    assert not complete
    assert [each["file"] for each in documents(out)] == [str(few / "b.png"), str(few / "c.png")]
    assert f"{out}: 3 inputs, 2 of them now, 0 lines with a problem" in said
    assert "Removed before their turn, and without a line: 1" in said
    assert f"Files were added meanwhile, such as {few}/new.png: run the command again for them" in said
    assert "Left out at the end: 1 file, because it is not an image" in said
    assert "notes.txt" in out.with_name("r.jsonl.left-out.txt").read_text(encoding="utf-8")


def test_a_pipe_in_a_folder_does_not_block_the_run(tmp_path: Path) -> None:
    models, out = write_store(tmp_path / "models", "tiny-segmenter"), tmp_path / "r.jsonl"
    few = few_photos(tmp_path / "photos")
    for name in ("x", "y.png"):
        os.mkfifo(few / name)

    done = local(models, out, few, few / "y.png")

    assert done.exit_code == 3, done.output
    assert "2 files, because it is not a regular file" in done.output
    assert [each["error"]["code"] for each in documents(out) if "error" in each] == ["file_unreadable"]
