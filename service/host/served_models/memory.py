"""Estimates the memory of a model, and finds how much this host and its control groups have left."""

from collections.abc import Iterable
from pathlib import Path

from service.models.cards import ModelCard

# A leader's resident memory without weights, and its growth with each byte of them, which holds also while a network is
# compiled for the first time. The measurements are in decision 0074.
LEADER_BYTES = 400 << 20
BYTES_OF_WEIGHTS = 4

MEMINFO, CGROUPS, OWN_CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def needed(card: ModelCard) -> int:
    """Return the bytes that the worker processes of a model may take, estimated from its weight file."""
    return card.serving.workers * (LEADER_BYTES + BYTES_OF_WEIGHTS * (card.weights_bytes or 0))


def available(meminfo: Path = MEMINFO, cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """Return the bytes that processes can still take: the least of the host and of the control groups (version 2)."""
    lines = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
    host = next(int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
    return min([host, *(left for folder in _groups(cgroups, own) if (left := _left(folder)) is not None)])


def _groups(cgroups: Path, own: Path) -> Iterable[Path]:
    """Yield the folder of this process's control group and those above it."""
    try:
        path = own.read_text(encoding="utf-8").partition("0::/")[2].partition("\n")[0]
    except OSError:
        path = ""
    folder = cgroups / path
    while folder != cgroups and cgroups in folder.parents:
        yield folder
        folder = folder.parent
    yield cgroups


def _left(folder: Path) -> int | None:
    """Return the bytes that are left in a control group, None without a limit. The kernel can drop inactive files."""
    try:
        limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
        lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        inactive = next((int(words[1]) for words in lines if words[0] == "inactive_file"), 0)
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used + inactive) if limit.isdecimal() else None
