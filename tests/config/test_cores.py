"""Usable cores and threads, from cgroup files that the test writes."""

import os
from pathlib import Path

import pytest

from service.config import cores
from service.config.cores import threads, threads_per_worker, usable_cores
from service.models import cards
from tests.stores import serving, write_store

ALLOWED = len(os.sched_getaffinity(0))


def group(folder: Path, **files: str) -> Path:
    """Write the files of a cgroup; the first underscore of a name stands for a dot."""
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


@pytest.mark.parametrize(
    ("stated", "environment", "expected"),
    [
        (3, {"OMP_NUM_THREADS": "2"}, 3),
        (None, {"OMP_NUM_THREADS": "2"}, 2),
        (None, {"OMP_NUM_THREADS": "5,2"}, 5),
        (None, {"OMP_NUM_THREADS": "0"}, usable_cores()),
        (None, {"OMP_NUM_THREADS": "many"}, usable_cores()),
        (None, {}, usable_cores()),
    ],
)
def test_threads_are_the_cards_else_the_environments_else_a_core_each(
    stated: int | None, environment: dict[str, str], expected: int
) -> None:
    assert threads(stated, environment) == expected


@pytest.mark.parametrize(
    ("cores", "stated", "workers", "expected"),
    [
        (2, [None], [1], 2),
        (2, [None, None], [1, 1], 1),
        (2, [None, None, None], [1, 1, 1], 1),
        (8, [None, None], [1, 2], 2),
        (8, [5, None], [1, 1], 3),
        (8, [2, None], [3, 2], 1),
        (8, [8, None], [1, 1], 1),
        (8, [4, 4], [1, 1], 1),
    ],
)
def test_processes_share_what_the_cards_leave_of_the_cores(
    tmp_path: Path, cores: int, stated: list[int | None], workers: list[int], expected: int
) -> None:
    card = cards.read(write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier")
    models = [serving(card, threads=each, workers=count) for each, count in zip(stated, workers, strict=True)]
    assert threads_per_worker(models, cores) == expected


def test_a_system_without_affinity_has_all_its_cores() -> None:
    assert cores._allowed_cores(object()) == os.cpu_count()
    assert cores._allowed_cores() == ALLOWED
