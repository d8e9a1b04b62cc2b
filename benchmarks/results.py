"""The result files of a benchmark: every figure as JSON, with time, command and host, and a Markdown page."""

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.measure.load import report


def head(program: str) -> dict[str, Any]:
    """Return the time, the command and the host of the benchmark with this name."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "command": " ".join([f"python -m benchmarks.{program}", *sys.argv[1:]]),
        "host": {**report.host(), "processor": processor()},
    }


def write(into: Path, name: str, document: Mapping[str, Any], page: str) -> None:
    """Write `name.json` and `name.md` into a folder, which is created if needed."""
    into.mkdir(parents=True, exist_ok=True)
    (into / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (into / f"{name}.md").write_text(page, encoding="utf-8")


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the processor, or its architecture if the system does not report a name."""
    try:
        lines = info.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, os.uname().machine)
