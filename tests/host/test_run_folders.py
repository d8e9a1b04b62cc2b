"""The folder of a process has a short path, and is removed at its end or when the next process starts."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.host.run_folders import LOCK, has_owner, remove_abandoned, short_folder

HOLDS = """\
import sys, time
from service.host.run_folders import short_folder
with short_folder(sys.argv[1]) as folder:
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def parent() -> Iterator[Path]:
    """A folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="parent") as folder:
        yield Path(folder)


@pytest.mark.parametrize("deep", ["", "deep" * 20])
def test_the_folder_of_the_sockets_is_short_and_goes_at_the_end(tmp_path: Path, deep: str) -> None:
    (tmp_path / deep).mkdir(exist_ok=True)
    with short_folder(str(tmp_path / deep)) as folder:
        assert len(str(folder / "tmp" / ".ts.sock.9000.31000")) < 107
        (folder / "file").touch()
    assert not folder.exists()


def test_a_parent_of_few_characters_and_many_bytes_is_too_long_for_sockets(parent: Path) -> None:
    deep = parent / ("写真" * 10)
    deep.mkdir()
    with short_folder(str(deep)) as folder:
        assert len(os.fsencode(folder / "pymp-12345678" / "listener-12345678")) < 107


def test_the_folder_of_a_killed_process_goes_when_the_next_one_starts_and_that_of_a_living_one_stays(
    parent: Path,
) -> None:
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLDS, str(parent)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, living = [Path(holder.stdout.readline().strip()) for holder in holders if holder.stdout]
        assert remove_abandoned(parent) == []
        os.kill(holders[0].pid, signal.SIGKILL)
        holders[0].wait()
        with short_folder(str(parent)) as new:
            assert {path.name for path in parent.iterdir()} == {new.name, living.name}
        assert not killed.exists()
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def test_what_is_not_known_to_be_abandoned_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / LOCK).touch()
    (tmp_path / "resnest-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "resnest-file").touch()
    (tmp_path / "resnest-starting").mkdir()
    (tmp_path / "resnest-trap").mkdir()
    (tmp_path / "resnest-trap" / LOCK).symlink_to(tmp_path / "elsewhere" / LOCK)
    (tmp_path / "another-program").mkdir()
    (tmp_path / "another-program" / LOCK).touch()

    assert remove_abandoned(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 6
    assert (tmp_path / "elsewhere" / LOCK).exists()


def test_an_abandoned_folder_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "resnest-old"
    (folder / "tmp" / "models").mkdir(parents=True)
    (folder / LOCK).touch()

    assert remove_abandoned(tmp_path) == [folder]
    assert not folder.exists()


def test_a_folder_that_a_living_process_has_is_not_taken_a_second_time(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from service.host import run_folders\n"
        "for _ in 'ab': print(run_folders.claim_folder(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "resnest-worker")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = map(Path, done.stdout.splitlines())
    assert first == tmp_path / "resnest-worker"
    assert second != first
    assert second.parent == tmp_path


def test_a_folder_has_an_owner_as_long_as_the_program_that_the_process_became_runs(tmp_path: Path) -> None:
    folder = tmp_path / "resnest-worker"
    program = (
        "import os, sys; from pathlib import Path; from service.host import run_folders\n"
        "run_folders.claim_folder(Path(sys.argv[1])); os.execv('/bin/cat', ['cat'])"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not has_owner(folder):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert process.returncode == 0
    assert not has_owner(folder)
    assert not has_owner(tmp_path / "none")
