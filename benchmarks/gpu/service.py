"""Measure the service on a host with a GPU under load: its share of the engine's rate, and its bottleneck."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import tomlkit

from benchmarks.bars.rounds import IN_FLIGHT, LONG_TIMEOUT
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.runner import Contest, ContestError, Entry, started
from benchmarks.gpu.options import GpuOptions
from service.config.cores import usable_cores
from service.measure.load import http_connection, report
from service.measure.load.trial import Load, Trial
from service.measure.tables import table
from service.models.cards import LABEL_SETS, ModelCard

__all__ = ["ContestError", "ServiceResult", "bottleneck", "measure", "store", "through_http"]

BUSY = 0.9  # use of a core, or of all cores, from which on it is the bottleneck
GOOD = 0.9  # share of the engine's rate from which on the engine is the bottleneck
TARGET_SHARE = 0.6


@dataclass(frozen=True)
class ServiceResult:
    """The best load, its share of the engine's rate, and a sentence that names the bottleneck."""

    trial: Trial
    share: float
    bottleneck: str

    def document(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {"share": self.share, "bottleneck": self.bottleneck, **asdict(self.trial), "load": str(self.trial.load)}


def store(source: Path, target: Path, model: str, **changes: str | int) -> Path:
    """Write a store of one model to `target`, with these values in the table `[serving]` of its card."""
    shutil.copytree(source / model, target / model)
    if (source / LABEL_SETS).is_dir():
        shutil.copytree(source / LABEL_SETS, target / LABEL_SETS)
    shutil.copy(source / "example.jpg", target)
    card = target / model / "card.toml"
    document: Any = tomlkit.parse(card.read_text(encoding="utf-8"))
    document["serving"] = {**document.get("serving", {}), **changes}
    card.write_text(tomlkit.dumps(document), encoding="utf-8")
    return target


def through_http(source: Path, card: ModelCard, engine_per_s: float, options: GpuOptions) -> dict[str, Any]:
    """Measure the service with the options, print the results and return them as JSON values."""
    changes: dict[str, str | int] = {"precision": options.precision, "workers": options.workers}
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        served = store(source, Path(folder), card.name, batch_size=card.serving.batch_size, **changes)
        found = measure(served, card.name, options.callers, options.seconds, engine_per_s)
    for part in (report.loads, report.stages, report.processes):
        click.echo(table(*part([found.trial])))
    click.echo(f"{found.share:.2f} of the engine's rate (target: {TARGET_SHARE}). {found.bottleneck}")
    return found.document()


def measure(folder: Path, model: str, callers: Sequence[int], seconds: float, engine_per_s: float) -> ServiceResult:
    """Start the service with that store, and measure it with each number of callers. Raises `ContestError`."""
    contest = Contest("same", folder, model, seconds=seconds, warm_up_s=seconds / 2)
    with started(CONTESTANTS["ours"], contest, IN_FLIGHT) as entry:
        trials = [_load(entry, each) for each in callers]
    best = max(trials, key=lambda each: each.summary.images_per_s)
    share = best.summary.images_per_s / engine_per_s
    return ServiceResult(best, share, bottleneck(best, share, usable_cores()))


def _load(entry: Entry, callers: int) -> Trial:
    uploads = entry.contest.uploads
    posts = [http_connection.post(entry.url, each.content, each.media_type, LONG_TIMEOUT) for each in uploads]
    return entry.measure(Load("closed", callers), posts)


def bottleneck(found: Trial, share: float, cores: int) -> str:
    """Return one sentence that names the bottleneck, according to the use of cores and the times of stages."""
    if share >= GOOD:
        return f"The GPU: the service reaches {share:.0%} of the engine's rate."
    used = sum(each.cores for each in found.processes)
    if used >= BUSY * cores:
        most = max(found.processes, key=lambda each: each.cores)
        return f"The host's {cores} cores: the service uses {used:.1f}, {most.command} most of them."
    single = [each for each in found.processes if BUSY <= each.cores <= 1 + (1 - BUSY)]
    if single:
        most = max(single, key=lambda each: each.cores)
        return f"One thread: {most.command} (process {most.pid}) uses {most.cores:.2f} of a core."
    stages = {name: times["p50"] or 0.0 for name, times in found.summary.stages_ms.items()}
    if not stages:
        return "Unknown: the service reports no stages."
    longest = max(stages, key=lambda name: stages[name])
    return f"Waiting, mostly in the stage {longest} ({stages[longest]:.1f} ms at the median); cores are free."
