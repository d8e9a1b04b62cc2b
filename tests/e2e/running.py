"""Starts a real `resnest-service run` as a user does: on a free port, without Java on the PATH."""

import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from service.host.processes import free_port

START_S = 120.0  # a CI machine has two shared cores. On an idle one a start takes 8 s.
START_PAUSE_S = 0.2  # between two looks. A service takes seconds
PROCESS_PAUSE_S = 0.5  # between two starts of PROBE, or of a shell
COMMAND = str(Path(sys.executable).with_name("resnest-service"))
# For clients that are made often: each would load the certificates of the public hosts, which takes 27 ms of a core.
NO_HTTPS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
PROBE = [sys.executable, "-m", "service.host.health"]  # 0.1 s of a core; `resnest-service health` takes 0.7


class Running:
    """The process tree of one `run`, and a client for it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, port: int, temporary: Path) -> None:
        self.process = process
        self.log = log
        self.temporary = temporary
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=NO_HTTPS)
        self.family: set[psutil.Process] = set()

    @property
    def output(self) -> str:
        """The output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def members(self, word: str) -> list[psutil.Process]:
        """Return the living descendants with `word` in their command line."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self.family |= set(found)
        return [member for member in found if word in " ".join(_command_line(member))]

    def left(self) -> list[psutil.Process]:
        """Return the processes that `members` has ever found and that still run."""
        return [member for member in self.family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]

    def await_ready(self, timeout_s: float = START_S) -> None:
        """Wait for the line READY; fail with the output if the command ends before it."""
        until(
            lambda: "READY after" in self.output or self.process.poll() is not None,
            timeout_s,
            lambda: self.output,
            START_PAUSE_S,
        )
        assert self.process.poll() is None, self.output
        self.members("")

    def end(self) -> int:
        """Send SIGINT, as Ctrl-C in a terminal does, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running(
    store: Path,
    folder: Path,
    port: int,
    *arguments: str,
    command: str = "run",
    program: Sequence[str] = (),
    **settings: str,
) -> Iterator[Running]:
    """Run `resnest-service run`, another command or another program on this store, and end all its processes after."""
    words = [*program, *arguments] if program else [COMMAND, command, *arguments]
    environment = {"RESNEST_MODEL_STORE": str(store), "RESNEST_PORT": str(port), **settings}
    with tempfile.TemporaryDirectory(prefix="e2e-") as temporary:  # short, for the paths of the sockets in it
        yield from _running(words, environment, folder, port, Path(temporary))


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


def worker_addresses() -> dict[str, str]:
    """Return free addresses on this host for each API of a worker, by its name."""
    return {name: f"http://127.0.0.1:{free_port()}" for name in ("inference", "management", "metrics")}


def address_options(addresses: Mapping[str, str]) -> list[str]:
    """Return the options of `worker` that set its addresses."""
    return [word for name, address in addresses.items() for word in (f"--{name}-address", address)]


def probed(environment: Mapping[str, str], *options: str) -> bool:
    """Return whether the probe of a container finds the worker or gateway of this environment ready."""
    return subprocess.run([*PROBE, *options], env=environment, capture_output=True, check=False).returncode == 0


def leader_of(workers: Iterable[psutil.Process]) -> psutil.Process:
    """Return the process of one model's workers that has the engine: the only one with libraries of some 100 MB."""
    return max(workers, key=lambda worker: int(worker.memory_info().rss))


def until(
    true: Callable[[], bool], timeout_s: float, say: Callable[[], object] = lambda: "", pause_s: float = 0.05
) -> None:
    """Wait until `true()`; fail with what `say` returns if that takes too long.

    A `true` that starts a process needs `PROCESS_PAUSE_S`: otherwise it takes a core from what it waits for. One that
    sends a request takes 4 ms of a core.
    """
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s\n{say()}"
        time.sleep(pause_s)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
