"""CPU and memory use of the server's processes, if it runs on this host and psutil is installed."""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.measure.load.http_connection import Address

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
LOADED = re.compile(r"\[[^\]]*?'(service\.[\w.]+)'")  # the first of the service's modules that a fork server loads
IMPORTED = re.compile(r"\b(?:from|import) ([\w.]+)")
COMMANDS = {"resnest-service", "service"}  # the script, and the module after `-m`


@dataclass(frozen=True)
class Process:
    """A snapshot of a process: CPU seconds used so far, and resident memory in bytes."""

    command: str
    cpu_s: float
    rss: int


@dataclass(frozen=True)
class Usage:
    """A process during an interval: the mean number of cores in use, and resident megabytes at the end."""

    pid: int
    command: str
    cores: float
    rss_mb: float


def root_of(address: Address) -> int | None:
    """Return the id of the process that listens at `address`, or of the `resnest-service run` that started it.

    Return None for another host, without the package psutil, or if the system denies access.
    """
    if address.host not in LOOPBACK or importlib.util.find_spec("psutil") is None:
        return None
    import psutil  # noqa: PLC0415 - it comes with the extra `worker`

    try:
        listening = {
            found.laddr.port: found.pid
            for found in psutil.net_connections("tcp")
            if found.laddr and found.status == psutil.CONN_LISTEN
        }
        pid = listening.get(address.port)
        parent = psutil.Process(pid).parent() if pid else None
        while parent is not None and COMMANDS & {Path(word).name for word in parent.cmdline()}:
            pid, parent = parent.pid, parent.parent()
    except psutil.Error:
        return None
    return pid


def snapshot(root: int) -> dict[int, Process]:
    """Return the process and all its descendants by id; empty if the process has ended."""
    import psutil  # noqa: PLC0415 - it comes with the extra `worker`

    found = {}
    try:
        processes = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    except psutil.Error:
        return {}
    for each in processes:
        try:
            times = each.cpu_times()
            found[each.pid] = Process(name_of(each.cmdline()), times.user + times.system, int(each.memory_info().rss))
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def between(before: Mapping[int, Process], after: Mapping[int, Process], seconds: float) -> list[Usage]:
    """Return the use by each process in `after`, the busiest first. All CPU time of a new process counts."""
    rows = [
        Usage(pid, now.command, (now.cpu_s - (before[pid].cpu_s if pid in before else 0)) / seconds, now.rss / 1e6)
        for pid, now in after.items()
    ]
    return sorted(rows, key=lambda row: -row.cores)


def name_of(command_line: Sequence[str]) -> str:
    """Return a short name from a command line: the script or module that Python runs, otherwise the program.

    Python's own helper processes run code (`-c`). Its first import is their name, or the service's first module that a
    fork server has loaded.
    """
    if "-c" in command_line[:-1]:
        code = command_line[command_line.index("-c") + 1]
        module = LOADED.search(code) or IMPORTED.search(code)
        return module[1] if module else "python -c"
    words = [Path(word).name for word in command_line if not word.startswith("-")]
    if not words or not words[0].startswith("python") or len(words) == 1:
        return words[0] if words else "?"
    return words[1] if words[1].endswith(".py") else " ".join(words[1:3])[:40]
