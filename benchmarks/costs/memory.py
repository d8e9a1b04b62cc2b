"""`python -m benchmarks.costs.memory [URL]`: the memory of each process of a service on this host.

Targets (resident, ResNeSt-50): 150 MB for the gateway, 700 MB for a worker of a classifier. Run it after some load,
which fills caches. The peak includes memory that only the start needs.
"""

import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psutil

from service.measure.load import usage
from service.measure.load.http_connection import Address
from service.measure.tables import table


@dataclass(frozen=True)
class ProcessMemory:
    """A process, and its megabytes: resident, peak, and not shared with others. `model` is the model of a worker."""

    pid: int
    command: str
    model: str
    resident_mb: float
    peak_mb: float
    own_mb: float


def memory_of(root: int) -> Iterator[ProcessMemory]:
    """Yield the memory of process `root` and its descendants, except processes that this user may not inspect."""
    for pid, each in usage.snapshot(root).items():
        try:
            process = psutil.Process(pid)
            own, environment = process.memory_full_info().uss, process.environ()
            peak = _peak(pid)
        except (psutil.Error, OSError):  # it ended meanwhile, or belongs to another user
            continue
        yield ProcessMemory(pid, each.command, _model(environment), each.rss / 1e6, peak / 1e6, own / 1e6)


def _peak(pid: int) -> int:
    """Return the peak of the resident set in bytes (proc(5), VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _model(environment: dict[str, str]) -> str:
    """Return the model of a worker: the name on the card in its PYTHONPATH. Return an empty string if there is none."""
    for folder in environment.get("PYTHONPATH", "").split(os.pathsep):
        card = Path(folder) / "card.toml"
        if folder and card.is_file():
            return str(tomllib.loads(card.read_text(encoding="utf-8")).get("name", ""))
    return ""


@click.command()
@click.argument("url", default="http://127.0.0.1:8000")
@click.option("--json", "as_json", is_flag=True)
def main(url: str, *, as_json: bool) -> None:
    """Print the memory of the processes of the service at URL."""
    try:
        root = usage.root_of(Address.of(url))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if root is None:
        raise click.ClickException(f"no service listens at {url}, or it runs on another host or as another user")
    rows = list(memory_of(root))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    cells = [
        (row.command, row.model, str(row.pid), *(f"{each:.0f}" for each in (row.resident_mb, row.peak_mb, row.own_mb)))
        for row in rows
    ]
    click.echo(table(("PROCESS", "MODEL", "PID", "RESIDENT MB", "PEAK MB", "OWN MB"), cells))


if __name__ == "__main__":
    main()
