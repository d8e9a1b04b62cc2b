"""How child processes end with their parent, and what signals do to a command."""

import gc
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from service.host.processes import Child, free_ports, loading_modules, parent_death_signal, stop_signals
from tests.e2e.running import until

SLEEP = "import time; time.sleep(60)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); {SLEEP}"
PARENT = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); print('up', flush=True); {SLEEP}"
)


def start(folder: Path, code: str, *, wait: bool = False) -> tuple[Child, psutil.Process]:
    """Return a child that runs this Python code, and its process; with `wait`, after its first line of output."""
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
    until(lambda: child.exit_code is not None, 20)
    assert child.exit_code == 3
    child.stop(1)
    assert child.exit_code == 3


def test_a_child_writes_where_it_is_told_and_runs_in_its_folder(tmp_path: Path) -> None:
    child, _ = start(tmp_path, "import os, sys; print(os.getcwd()); print('oh', file=sys.stderr)")
    until(lambda: child.exit_code == 0, 20)
    assert set((tmp_path / "log").read_text(encoding="utf-8").split()) == {str(tmp_path), "oh"}


def test_a_child_is_asked_to_end_first(tmp_path: Path) -> None:
    child, _ = start(tmp_path, SLEEP)
    started = time.monotonic()
    child.stop(30)
    assert child.exit_code == -signal.SIGTERM
    assert time.monotonic() - started < 20


def test_a_child_that_does_not_listen_is_ended_by_force(tmp_path: Path) -> None:
    child, _ = start(tmp_path, IGNORES_SIGTERM, wait=True)
    child.stop(0.2)
    assert child.exit_code == -signal.SIGKILL


def test_hurry_cuts_the_waiting_short(tmp_path: Path) -> None:
    child, _ = start(tmp_path, IGNORES_SIGTERM, wait=True)
    started = time.monotonic()
    child.stop(60, hurry=lambda: True)
    assert child.exit_code == -signal.SIGKILL
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
    class FirstThree:
        """The first three ports that `free_ports` checks."""

        def __init__(self) -> None:
            self.seen: list[int] = []

        def __contains__(self, port: object) -> bool:
            assert isinstance(port, int)
            self.seen.append(port)
            return len(self.seen) <= 3

    excluded = FirstThree()
    found = free_ports(4, excluding=excluded)

    assert found == excluded.seen[3:]
    assert len({*excluded.seen}) == 7, "each is another"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_asks_to_stop_and_a_second_to_hurry(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_signals() as received:
        assert not received.to_stop.is_set()
        os.kill(os.getpid(), number)
        assert received.to_stop.wait(5)
        assert not received.to_hurry.is_set()
        os.kill(os.getpid(), number)
        assert received.to_hurry.wait(5)
    assert signal.getsignal(number) is before


def test_a_process_whose_parent_is_another_already_ends_at_once() -> None:
    child = os.fork()
    if child == 0:
        parent_death_signal(os.getpid(), signal.SIGTERM)()
        os._exit(7)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 1


def test_a_process_whose_parent_lives_goes_on() -> None:
    child = os.fork()
    if child == 0:
        parent_death_signal(os.getppid(), signal.SIGTERM)()
        os._exit(7)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7


def test_the_signal_is_the_one_asked_for() -> None:
    code = (
        "import os, signal, time\nfrom service.host.processes import parent_death_signal\n"
        "read, write = os.pipe()\n"
        "middle = os.fork()\n"
        "if middle:\n    os.close(write)\n    print(os.read(read, 9).decode())\n    raise SystemExit\n"
        "parent = os.getpid()\n"
        "if os.fork():\n    time.sleep(0.2)\n    os._exit(0)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (os.write(write, b'sent'), os._exit(0)))\n"
        "parent_death_signal(parent, signal.SIGUSR1)()\n"
        "time.sleep(30)\n"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout.strip() == "sent"
    assert time.monotonic() - begun < 60


def test_modules_are_loaded_without_garbage_collection_and_are_excluded_from_later_ones() -> None:
    before = gc.get_freeze_count()

    with loading_modules():
        assert not gc.isenabled()
        made: list[list[int]] = [[] for _ in range(1_000)]

    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_garbage_is_collected_again_after_a_module_that_is_missing() -> None:
    with pytest.raises(ModuleNotFoundError), loading_modules():
        importlib.import_module("no_such_module")

    assert gc.isenabled()
