"""The service on a host with a GPU, under load: what it gives of what its engine could, and what holds it back."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomlkit

from benchmarks.bars.rounds import IN_FLIGHT, PATIENT
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.runner import Contest, Entry, started
from service.config.cores import usable_cores
from service.measure.load import http_connection
from service.measure.load.trial import Load, Trial
from service.models.cards import LABEL_SETS

BUSY = 0.9  # of a core or of all of them, from which on it holds the rest back
GOOD = 0.9  # of the engine's rate, beyond which the engine is what holds the service back
AIM = 0.6


@dataclass(frozen=True)
class Served:
    """The best load, its share of the engine's rate, and the sentence that says what holds it back."""

    trial: Trial
    share: float
    bound: str

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {"share": self.share, "bound": self.bound, **asdict(self.trial), "load": str(self.trial.load)}


def store(source: Path, target: Path, model: str, **changes: str | int) -> Path:
    """A store of one model at `target`, whose card has these values in its table `[serving]`."""
    shutil.copytree(source / model, target / model)
    if (source / LABEL_SETS).is_dir():
        shutil.copytree(source / LABEL_SETS, target / LABEL_SETS)
    shutil.copy(source / "example.jpg", target)
    card = target / model / "card.toml"
    document: Any = tomlkit.parse(card.read_text(encoding="utf-8"))
    document["serving"] = {**document.get("serving", {}), **changes}
    card.write_text(tomlkit.dumps(document), encoding="utf-8")
    return target


def measure(folder: Path, model: str, callers: Sequence[int], seconds: float, engine_per_s: float) -> Served:
    """Start the service on that store and put each number of callers on it. Raises `ContestError`."""
    contest = Contest("same", folder, model, seconds=seconds, warm_up_s=seconds / 2)
    with started(CONTESTANTS["ours"], contest, IN_FLIGHT) as entry:
        trials = [_load(entry, each) for each in callers]
    best = max(trials, key=lambda each: each.summary.pictures_per_s)
    share = best.summary.pictures_per_s / engine_per_s
    return Served(best, share, bound(best, share, usable_cores()))


def _load(entry: Entry, callers: int) -> Trial:
    posts = [http_connection.post(entry.url, each.content, each.media_type, PATIENT) for each in entry.contest.pictures]
    return entry.measure(Load("closed", callers), posts)


def bound(found: Trial, share: float, cores: int) -> str:
    """What holds the service back, as far as processes and stages tell: one sentence."""
    if share >= GOOD:
        return f"The GPU: the service gives {share:.0%} of what the engine does alone."
    taken = sum(each.cores for each in found.processes)
    if taken >= BUSY * cores:
        most = max(found.processes, key=lambda each: each.cores)
        return f"The host's {cores} cores, of which the service takes {taken:.1f}, {most.command} most."
    single = [each for each in found.processes if BUSY <= each.cores <= 1 + (1 - BUSY)]
    if single:
        most = max(single, key=lambda each: each.cores)
        return f"One thread: {most.command} (process {most.pid}) keeps {most.cores:.2f} of a core busy."
    stages = {name: times["p50"] or 0.0 for name, times in found.summary.stages_ms.items()}
    if not stages:
        return "Nothing that can be seen: the service tells no stages."
    longest = max(stages, key=lambda name: stages[name])
    return f"Waiting, most of it in the stage {longest} ({stages[longest]:.1f} ms at the median); no core is short."
