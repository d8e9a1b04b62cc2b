"""How many processor cores this process may keep busy."""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from service.models.cards import ModelCard

# For OpenMP, before torch is loaded: idle threads sleep. Spinning ones, the default, are in the way of who has work:
# with two threads and one of two cores busy elsewhere, a forward pass of 10 ms took 130 ms at the 90th percentile and
# 1,300 ms at the most, and 161 masks 48 s instead of 5 s.
SLEEPING_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}

CGROUP = Path("/sys/fs/cgroup")
THREADS = "OMP_NUM_THREADS"  # OpenMP's name, which torch reads when it is loaded


def usable_cores(cgroup: Path = CGROUP) -> int:
    """The cores of the affinity mask, bounded by the control group's quota (version 2 or 1), at least 1."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, allowed if quota is None else min(allowed, math.floor(quota)))


def threads(stated: int | None, environment: Mapping[str, str]) -> int:
    """How many threads an engine in this process may keep busy.

    What its card has `stated`, else `OMP_NUM_THREADS`, which a worker is started with, else all the usable cores.
    """
    inherited = environment.get(THREADS, "").partition(",")[0].strip()  # further numbers are for nested levels
    if stated is None and inherited.isascii() and inherited.isdecimal():
        stated = int(inherited)
    return stated or usable_cores()


def share(models: Iterable[ModelCard], cores: int) -> int:
    """The threads of a worker process whose card states none: what others' cards leave of `cores`, equally, at least 1.

    Processes that have more threads than cores between them are in each other's way (decision 0013).
    """
    serving = [card.serving for card in models]
    stated = sum(each.workers * each.threads for each in serving if each.threads)
    sharing = sum(each.workers for each in serving if each.threads is None)
    return max(1, (cores - stated) // max(1, sharing))


def _quota(cgroup: Path) -> float | None:
    """The quota in cores, or None where there is none."""
    fields = (_read(cgroup / "cpu.max") or _version_1(cgroup)).split()
    if len(fields) != 2 or fields[0] in {"max", "-1"}:
        return None
    return int(fields[0]) / int(fields[1])


def _version_1(cgroup: Path) -> str:
    return f"{_read(cgroup / 'cpu/cpu.cfs_quota_us')} {_read(cgroup / 'cpu/cpu.cfs_period_us')}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
