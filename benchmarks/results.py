"""The result files of a benchmark: every figure as JSON, with time, command and host, and a Markdown page."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.measure import machine

INFO = Path("/proc/cpuinfo")


def head(program: str) -> dict[str, Any]:
    """Return the time, the command and the host of the benchmark with this name."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "command": " ".join([f"python -m benchmarks.{program}", *sys.argv[1:]]),
        "host": {**machine.describe(), "processor": processor(), "amx": has_amx()},
        "commit": commit(),
    }


def write(into: Path, name: str, document: Mapping[str, Any], page: str) -> None:
    """Write `name.json` and `name.md` into a folder, which is created if needed."""
    into.mkdir(parents=True, exist_ok=True)
    (into / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (into / f"{name}.md").write_text(page, encoding="utf-8")


def processor(info: Path = INFO) -> str:
    """Return the name of the processor, or its architecture if the system does not report a name."""
    return next(_values("model name", info), os.uname().machine)


def has_amx(info: Path = INFO) -> bool:
    """Return whether the processor multiplies matrices of bfloat16 in tiles (AMX), by its flags."""
    return "amx_bf16" in next(_values("flags", info), "").split()


def commit(folder: Path = Path(__file__).parent) -> str:
    """Return the short name of the commit, with a plus sign if files have changed since; empty without git."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def _values(name: str, info: Path) -> Iterator[str]:
    """Yield the values of the lines with this name."""
    try:
        lines = info.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name)
