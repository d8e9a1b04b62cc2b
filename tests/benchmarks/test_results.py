"""Tests of the result files of the benchmarks."""

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.results import commit, has_amx, processor


def test_the_processors_name_is_the_systems(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Processor\nmodel name\t: A Processor\n", encoding="utf-8")

    assert processor(info) == "A Processor"
    assert processor(tmp_path / "nowhere")


@pytest.mark.parametrize(("flags", "has"), [("fpu avx512_bf16 amx_bf16 amx_tile", True), ("fpu avx512_bf16", False)])
def test_amx_is_found_among_the_flags_of_the_processor(tmp_path: Path, flags: str, *, has: bool) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nflags\t\t: {flags}\n", encoding="utf-8")

    assert has_amx(info) is has
    assert not has_amx(tmp_path / "nowhere")


def test_the_commit_is_that_of_the_folder_with_a_plus_where_files_have_changed(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        person = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *person, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1", encoding="utf-8")
    git("add", "a")
    git("commit", "-m", "a")
    assert re.fullmatch(r"[0-9a-f]{7,}", commit(tmp_path))

    (tmp_path / "a").write_text("2", encoding="utf-8")
    assert re.fullmatch(r"[0-9a-f]{7,}\+", commit(tmp_path))


def test_a_folder_outside_of_git_has_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""
