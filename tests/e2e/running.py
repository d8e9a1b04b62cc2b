"""A real `resnest-service run`, as a user starts it: on a free port, without Java on the PATH."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

START_S = 120.0  # the machine of a continuous integration has two cores, shared; alone it takes 8 s
COMMAND = str(Path(sys.executable).with_name("resnest-service"))


class Running:
    """The process tree of one `run`, and a client for it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, port: int, temporary: Path) -> None:
        self.process = process
        self.log = log
        self.temporary = temporary
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self.family: set[psutil.Process] = set()

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def members(self, word: str) -> list[psutil.Process]:
        """Its living descendants with `word` in their command line."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self.family |= set(found)
        return [member for member in found if word in " ".join(_command_line(member))]

    def left(self) -> list[psutil.Process]:
        """Those ever seen by `members` that still run."""
        return [member for member in self.family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]

    def await_ready(self, timeout_s: float = START_S) -> None:
        """Wait for the line that says so; fail with the output where the command ends instead."""
        until(lambda: "READY after" in self.output or self.process.poll() is not None, timeout_s, lambda: self.output)
        assert self.process.poll() is None, self.output
        self.members("")

    def end(self) -> int:
        """Ctrl-C as a terminal sends it; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running(
    store: Path, folder: Path, port: int, *arguments: str, command: str = "run", **settings: str
) -> Iterator[Running]:
    """`resnest-service run`, or another command, on this store; whatever happens, nothing of it is left afterwards."""
    words = [COMMAND, command, *arguments]
    told = {"RESNEST_MODEL_STORE": str(store), "RESNEST_PORT": str(port), **settings}
    with tempfile.TemporaryDirectory(prefix="e2e-") as temporary:  # short, for the names of sockets in it
        yield from _running(words, told, folder, port, Path(temporary))


def _running(
    command: list[str], settings: dict[str, str], folder: Path, port: int, temporary: Path
) -> Iterator[Running]:
    (folder / "empty").mkdir(parents=True)
    environment = {key: value for key, value in os.environ.items() if key != "JAVA_HOME" and "RESNEST" not in key}
    environment |= {"PATH": str(folder / "empty"), "PYTHONWARNINGS": "default", "TMPDIR": str(temporary)}
    environment |= settings
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    service = Running(process, log, port, temporary)
    try:
        yield service
    finally:
        service.client.close()
        if process.poll() is None:
            service.members("")
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for member in service.left():
            member.kill()


def until(true: Callable[[], bool], timeout_s: float, say: Callable[[], object] = lambda: "") -> None:
    """Wait for something to become true; fail with what `say` returns where it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s\n{say()}"
        time.sleep(0.02)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
