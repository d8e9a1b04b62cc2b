"""Find the processor cores that this process may use, and divide them between workers."""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from service.models.cards import ModelCard

# For OpenMP, set before torch is loaded: idle threads sleep. By default they spin and take time from threads with work.
# Measured with two threads, while one of two cores was busy. A forward pass of 10 ms took 130 ms at the 90th percentile
# and up to 1,300 ms, and 161 masks took 48 s instead of 5 s.
SLEEPING_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}

CGROUP = Path("/sys/fs/cgroup")
THREADS = "OMP_NUM_THREADS"  # variable of OpenMP that torch reads when it is loaded


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Return the number of cores in the affinity mask, limited by the cgroup's quota (version 2 or 1); at least 1."""
    allowed = _allowed_cores()
    quota = _quota(cgroup)
    return max(1, allowed if quota is None else min(allowed, math.floor(quota)))


def _allowed_cores(system: object = os) -> int:
    """Return the number of cores in the affinity mask; all cores on a system without one, such as macOS."""
    affinity = getattr(system, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def threads(stated: int | None, environment: Mapping[str, str]) -> int:
    """Return the number of threads that an engine in this process may use.

    It is the number `stated` in the card, else `OMP_NUM_THREADS`, which is set for workers, else the usable cores.
    """
    inherited = environment.get(THREADS, "").partition(",")[0].strip()  # more numbers would be for nested levels
    if stated is None and inherited.isascii() and inherited.isdecimal():
        stated = int(inherited)
    return stated or usable_cores()


def threads_per_worker(models: Iterable[ModelCard], cores: int) -> int:
    """Return the number of threads of each worker process whose card states none; at least 1.

    These processes share equally the `cores` that are left after the stated threads. More threads than cores would
    slow down all of them (decision 0013).
    """
    serving = [card.serving for card in models]
    stated = sum(each.workers * each.threads for each in serving if each.threads)
    sharing = sum(each.workers for each in serving if each.threads is None)
    return max(1, (cores - stated) // max(1, sharing))


def _quota(cgroup: Path) -> float | None:
    """Return the CPU quota in cores, or None without a quota."""
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
