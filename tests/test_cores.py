"""The cores this process may keep busy, from control groups written by hand."""

import os
from pathlib import Path

import pytest

from service.cores import usable_cores

ALLOWED = len(os.sched_getaffinity(0))


def group(folder: Path, **files: str) -> Path:
    """A control group's folder; the first underscore of a name stands for a dot."""
    for name, content in files.items():
        path = folder / name.replace("_", ".", 1)
        path.write_text(content, encoding="ascii")
    return folder


def test_without_a_quota_they_are_those_of_the_affinity_mask(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == ALLOWED


@pytest.mark.parametrize("quota", ["max 100000", "nonsense"])
def test_no_quota_is_no_bound(tmp_path: Path, quota: str) -> None:
    assert usable_cores(group(tmp_path, cpu_max=quota)) == ALLOWED


@pytest.mark.parametrize(("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("190000 100000", 1)])
def test_a_quota_counts_whole_cores_and_at_least_one(tmp_path: Path, quota: str, cores: int) -> None:
    assert usable_cores(group(tmp_path, cpu_max=quota)) == cores


def test_a_quota_above_the_affinity_mask_adds_nothing(tmp_path: Path) -> None:
    assert usable_cores(group(tmp_path, cpu_max=f"{100000 * (ALLOWED + 5)} 100000")) == ALLOWED


def test_version_1_groups_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n", encoding="ascii")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n", encoding="ascii")
    assert usable_cores(tmp_path) == 1
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n", encoding="ascii")
    assert usable_cores(tmp_path) == ALLOWED


def test_the_machine_itself_can_be_asked() -> None:
    assert 1 <= usable_cores() <= ALLOWED
