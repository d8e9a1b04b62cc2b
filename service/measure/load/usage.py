"""What the server takes of this machine: cores and memory of each of its processes, where they can be seen."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.measure.load.wire import Address

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
OURS = {"resnest-service", "service"}  # as a script, and after `-m`


@dataclass(frozen=True)
class Process:
    """A process at one moment: seconds of a core it has used, bytes of memory it holds."""

    command: str
    cpu_s: float
    rss: int


@dataclass(frozen=True)
class Usage:
    """A process over a time: cores it kept busy in the mean, and its memory at the end, resident, in megabytes."""

    pid: int
    command: str
    cores: float
    rss_mb: float


def root_of(address: Address) -> int | None:
    """The process id of the service that listens there, of `resnest-service run` where that started it.

    None on another host, without the package psutil, or where the system does not tell.
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
        while parent is not None and OURS & {Path(word).name for word in parent.cmdline()}:
            pid, parent = parent.pid, parent.parent()
    except psutil.Error:
        return None
    return pid


def snapshot(root: int) -> dict[int, Process]:
    """The process and all under it, by id; none where it has gone."""
    import psutil  # noqa: PLC0415 - it comes with the extra `worker`

    found = {}
    try:
        family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    except psutil.Error:
        return {}
    for member in family:
        try:
            times = member.cpu_times()
            found[member.pid] = Process(
                name_of(member.cmdline()), times.user + times.system, int(member.memory_info().rss)
            )
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def between(before: Mapping[int, Process], after: Mapping[int, Process], seconds: float) -> list[Usage]:
    """What each process that is there at the end took, the busiest first; one that is new has used all its time."""
    rows = [
        Usage(pid, now.command, (now.cpu_s - (before[pid].cpu_s if pid in before else 0)) / seconds, now.rss / 1e6)
        for pid, now in after.items()
    ]
    return sorted(rows, key=lambda row: -row.cores)


def name_of(command_line: Sequence[str]) -> str:
    """What a process is for, of its command line: the script or module that Python runs, else the program."""
    words = [Path(word).name for word in command_line if not word.startswith("-")]
    if not words or not words[0].startswith("python") or len(words) == 1:
        return words[0] if words else "?"
    return words[1] if words[1].endswith(".py") else " ".join(words[1:3])[:40]
