"""The command `bulk` as a process of its own, which is killed and continued, before a real gateway."""
# ruff: noqa: F401, F811 - the fixtures are those of the gateway's tests

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli.main import main
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

COUNT = 200


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of images, of which every 20th is broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        whole = image_bytes(number)
        (folder / f"{number:03}.png").write_bytes(whole[:100] if number % 20 == 0 else whole)
    return folder


async def started(url: str, *arguments: str | Path) -> asyncio.subprocess.Process:
    words = ["-m", "service", "bulk", "--url", url, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESNEST_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, *words, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def names_in(folder: Path) -> list[str]:
    return [str(path) for path in folder.iterdir()]


def documents(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_a_run_that_is_killed_again_and_again_has_one_line_for_each_input_in_the_end(
    listening: Running, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        url, killed = str(client.base_url), 0
        for share in (0.1, 0.4, 0.7):
            process = await started(url, photos, "--out", out, "--query", "top_k=2")
            await until(lambda: lines(out) >= share * COUNT or process.returncode is not None, 60)  # noqa: B023
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            await process.communicate()
        last = await started(url, photos, "--out", out, "--query", "top_k=2")
        _, said = await last.communicate()

    found = documents(out)
    assert killed >= 2
    assert last.returncode == 3, said
    assert Counter(each["file"] for each in found) == Counter(names_in(photos))
    assert sum("error" in each for each in found) == COUNT // 20
    assert all(len(each["predictions"]) == 2 for each in found if "error" not in each)
    assert f"{COUNT} inputs" in said.decode()


async def test_a_run_that_is_complete_asks_nothing_and_new_files_are_added(
    listening: Running, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        await (await started(str(client.base_url), photos, "--out", out)).communicate()
        before = out.read_bytes()
        again = await started(str(client.base_url), photos, "--out", out)
        await again.communicate()
        assert out.read_bytes() == before
        (photos / "new.png").write_bytes(image_bytes())
        await (await started(str(client.base_url), photos, "--out", out)).communicate()

    assert out.read_bytes().startswith(before)
    assert documents(out)[-1]["file"] == str(photos / "new.png")
    assert lines(out) == COUNT + 1


async def test_problems_can_be_asked_again(listening: Running, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        await (await started(str(client.base_url), photos, "--out", out)).communicate()
        for number in range(0, COUNT, 20):
            (photos / f"{number:03}.png").write_bytes(image_bytes(number))
        again = await started(str(client.base_url), photos, "--out", out, "--retry-failed")
        await again.communicate()

    assert again.returncode == 0
    assert len({each["file"] for each in documents(out)}) == lines(out) == COUNT


async def test_another_question_needs_another_file(listening: Running, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    async with listening() as client:
        await (await started(str(client.base_url), photos, "--out", out)).communicate()
        other = await started(str(client.base_url), photos, "--out", out, "--query", "top_k=1")
        _, said = await other.communicate()

    assert other.returncode == 1
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
