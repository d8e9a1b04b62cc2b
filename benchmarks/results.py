"""What a measuring program leaves behind: every figure as JSON, with when and where it was taken, and a page."""

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.measure.load import report


def head(program: str) -> dict[str, Any]:
    """When, by which command and on what host the program of that name measures."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "command": " ".join([f"python -m benchmarks.{program}", *sys.argv[1:]]),
        "host": {**report.host(), "processor": processor()},
    }


def write(into: Path, name: str, told: Mapping[str, Any], page: str) -> None:
    """Put `name.json` and `name.md` into a folder, which is made."""
    into.mkdir(parents=True, exist_ok=True)
    (into / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (into / f"{name}.md").write_text(page, encoding="utf-8")


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, or its architecture where the system does not tell."""
    try:
        lines = info.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, os.uname().machine)
