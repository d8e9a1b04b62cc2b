"""`python -m benchmarks.costs.memory [URL]`: the memory of each process of a service that runs on this host.

The bars (resident, ResNeSt-50): gateway 150 MB, a classifier's worker 700 MB. Run it after some load, which brings
caches to their size; the peak shows what the start has taken for a moment.
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
class Held:
    """A process: `model` of a worker; megabytes resident now, at the most ever, and shared with no other process."""

    pid: int
    command: str
    model: str
    resident_mb: float
    peak_mb: float
    own_mb: float


def held(root: int) -> Iterator[Held]:
    """Each process of the service whose first one is `root`, where it can be looked into."""
    for pid, process in usage.snapshot(root).items():
        try:
            looked = psutil.Process(pid)
            own, environment = looked.memory_full_info().uss, looked.environ()
            peak = _peak(pid)
        except (psutil.Error, OSError):  # it ended meanwhile, or is another user's
            continue
        yield Held(pid, process.command, _model(environment), process.rss / 1e6, peak / 1e6, own / 1e6)


def _peak(pid: int) -> int:
    """Bytes: the kernel's high-water mark of the resident set (proc(5), VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _model(environment: dict[str, str]) -> str:
    """The name on the card in the folder that TorchServe puts on a worker's path; empty for other processes."""
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
    rows = list(held(root))
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
