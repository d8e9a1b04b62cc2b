"""Tests of the start and the end of a contestant."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.contest import runner
from benchmarks.contest.contestants import Contestant
from benchmarks.contest.runner import Contest, ContestError, started
from tests.stores import write_store

RUNAWAY = (
    "import subprocess, sys, time; print(subprocess.Popen({}, start_new_session=True).pid, flush=True); time.sleep(99)"
)

WITHOUT_PROGRAM = r"unknown does not start: .*No module named benchmarks\.contest\.servers\.unknown_server"


def contest(tmp_path: Path) -> Contest:
    return Contest("null", write_store(tmp_path, "tiny-classifier", weights=False), "tiny-classifier")


def test_a_contestant_whose_program_fails_says_so_with_its_last_lines(tmp_path: Path) -> None:
    unknown = Contestant("unknown", "/", pinned=False)

    with pytest.raises(ContestError, match=WITHOUT_PROGRAM), started(unknown, contest(tmp_path)):
        pass


def test_the_end_of_a_contestant_is_that_of_all_it_ever_started() -> None:
    program = RUNAWAY.format([sys.executable, "-c", "import time; time.sleep(99)"])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        runaway = psutil.Process(int(process.stdout.readline()))

        runner.stop(process)

    deadline = time.monotonic() + 30
    while runaway.is_running() and runaway.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runaway.is_running() or runaway.status() == psutil.STATUS_ZOMBIE
    assert process.returncode is not None


def test_every_server_is_told_the_same(tmp_path: Path) -> None:
    variables = contest(tmp_path).environment

    assert (variables["BENCH_KIND"], variables["BENCH_MODEL"]) == ("null", "tiny-classifier")
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"
