"""Child processes: how they end, and that they never stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from service.host.processes import Child, free_ports
from tests.e2e.running import until

SLEEP = "import time; time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); {SLEEP}"
PARENT = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); print('up', flush=True); {SLEEP}"
)


def start(folder: Path, code: str, *, wait: bool = False) -> tuple[Child, psutil.Process]:
    """A Python of this code, and its process; `wait` for its first line."""
    log = folder / "log"
    with log.open("wb") as output:
        before = set(psutil.Process().children())
        child = Child.start([sys.executable, "-c", code], os.environ, folder, output)
    (process,) = set(psutil.Process().children()) - before
    if wait:
        until(lambda: log.read_bytes().startswith(b"up"), 20)
    return child, process


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_child_that_ends_leaves_its_exit_code(tmp_path: Path) -> None:
    child, _ = start(tmp_path, "raise SystemExit(3)")
    until(lambda: child.code is not None, 20)
    assert child.code == 3
    child.stop(1)
    assert child.code == 3


def test_a_child_writes_where_it_is_told_and_runs_in_its_folder(tmp_path: Path) -> None:
    child, _ = start(tmp_path, "import os, sys; print(os.getcwd()); print('oh', file=sys.stderr)")
    until(lambda: child.code == 0, 20)
    assert set((tmp_path / "log").read_text(encoding="utf-8").split()) == {str(tmp_path), "oh"}


def test_a_child_is_asked_to_end_first(tmp_path: Path) -> None:
    child, _ = start(tmp_path, SLEEP)
    started = time.monotonic()
    child.stop(30)
    assert child.code == -signal.SIGTERM
    assert time.monotonic() - started < 20


def test_a_child_that_does_not_listen_is_ended_by_force(tmp_path: Path) -> None:
    child, _ = start(tmp_path, DEAF, wait=True)
    child.stop(0.2)
    assert child.code == -signal.SIGKILL


def test_hurry_cuts_the_waiting_short(tmp_path: Path) -> None:
    child, _ = start(tmp_path, DEAF, wait=True)
    started = time.monotonic()
    child.stop(60, hurry=lambda: True)
    assert child.code == -signal.SIGKILL
    assert time.monotonic() - started < 30


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    child, process = start(tmp_path, PARENT, wait=True)
    (grandchild,) = process.children()
    child.stop(10)
    until(lambda: gone(grandchild), 10)


def test_a_terminals_interrupt_does_not_reach_it(tmp_path: Path) -> None:
    child, process = start(tmp_path, SLEEP)
    assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    child.stop(10)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, end: signal.Signals) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from service.host.processes import Child; "
        f"Child.start([sys.executable, '-c', {SLEEP!r}], os.environ, Path('.'), None); print('up', flush=True); {SLEEP}"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        (orphan,) = psutil.Process(parent.pid).children()
        parent.send_signal(end)
        until(lambda: gone(orphan), 10)


def test_ports_that_somebody_is_about_to_listen_on_are_not_free() -> None:
    class Wanted:
        """The first three that are looked for."""

        def __init__(self) -> None:
            self.seen: list[int] = []

        def __contains__(self, port: object) -> bool:
            assert isinstance(port, int)
            self.seen.append(port)
            return len(self.seen) <= 3

    wanted = Wanted()
    found = free_ports(4, besides=wanted)

    assert found == wanted.seen[3:]
    assert len({*wanted.seen}) == 7, "each is another"
