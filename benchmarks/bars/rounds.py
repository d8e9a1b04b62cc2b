"""The stages of a repeat of `benchmarks.bars`. Each starts a server, applies its loads and records the figures."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from benchmarks import made_models
from benchmarks.bars import old_tree
from benchmarks.bars.old_tree import OldTree
from benchmarks.contest.answers import Answer
from benchmarks.contest.contestants import CONTESTANTS, Contestant
from benchmarks.contest.runner import Contest, ContestError, Entry, checked_answers, started
from benchmarks.scoreboard import IMAGES, MANY_CALLERS, PEERS
from service.measure.load import corpus, http_connection
from service.measure.load.corpus import CorpusImage
from service.measure.load.http_connection import Request
from service.measure.load.trial import Load, Trial
from service.tasks.segmentation.segment import SEGMENT

CALLERS = Load("closed", 16)
SEGMENT_CALLERS = Load("closed", 4)
LARGE = (4032, 3024)
# Factors for the duration of a load.
LARGE_FACTOR = 2  # An image of 12 megapixels takes about ten times as long as one of 0.17.
SEGMENT_FACTOR = 3  # A batch of four takes seconds.
MIX_FACTOR = 2  # The rotation has 20 images, some of which take ten times as long as others.
CLASSIFIER, SEGMENTER = made_models.MADE
# The images of the engine alone: width and height. A photograph of 4:3 becomes 520x392 for the segmenter.
ENGINE_SIZES = {CLASSIFIER: (224, 224), SEGMENTER: (520, 392)}
RIVAL = "same mosec"  # the peer whose latency is measured too: the fastest one
IN_FLIGHT = {"RESNEST_MAX_IN_FLIGHT": "512"}  # images: the default of 64 would reject most of 256 callers
NOT_GATEWAY = {"model_service_worker.py", "java", "benchmarks.contest.servers.ours_server"}
# For 256 callers: on a slow machine, some wait longer than the card's deadline of 10 s.
LONG_TIMEOUT = {"Request-Timeout": "60"}


@dataclass(frozen=True)
class Schedule:
    """The number of repeats, the duration of each load, the single images in this process, and the caller counts."""

    repeats: int
    seconds: float
    warm_up_s: float
    lone: int
    caller_counts: Sequence[int]
    segment_repeats: int
    shares: Sequence[float]  # of a server's throughput: the rates at which its latency is measured

    def changed(self, repeats: int | None = None, seconds: float | None = None) -> Self:
        """Return a copy with other values, where given."""
        return replace(self, repeats=repeats or self.repeats, seconds=seconds or self.seconds)

    def __str__(self) -> str:
        return f"{self.repeats} repeats, each load {self.seconds:g} s after {self.warm_up_s:g} s of warm-up"


@dataclass(frozen=True)
class Round:
    """One repeat: its index, the mix of images, an older tree, the figures it records, and the answers by model."""

    store: Path
    schedule: Schedule
    index: int
    measures: MutableMapping[str, float] = field(default_factory=dict)
    answers: MutableMapping[str, list[Answer]] = field(default_factory=dict)
    mix: Sequence[CorpusImage] = ()
    against: OldTree | None = None

    def contest(self, kind: str, model: str = CLASSIFIER, longer: float = 1) -> Contest:
        """Return what the contestants of a stage get. `longer` is a factor of the duration of each load."""
        seconds = self.schedule.seconds * longer
        return Contest(kind, self.store, model, seconds=seconds, warm_up_s=self.schedule.warm_up_s)

    @property
    def old(self) -> tuple[OldTree, Contestant, dict[str, str]]:
        """The older tree, its service and the variables of it. Raises `ContestError` without one."""
        if self.against is None:
            raise ContestError("a comparison with an older tree needs --against")
        return self.against, self.against.contestant, {**IN_FLIGHT, "BENCH_STORE": str(self.against.store)}


Stage = Callable[[Round], None]


def engine(current: Round, *, model: str) -> None:
    """Measure the engine alone, and in turn that of the older tree, if there is one."""
    seconds = current.schedule.seconds * (SEGMENT_FACTOR if model == SEGMENTER else 1)
    trees = [current.against] if current.against else []
    variables = current.contest("same", model).environment
    found = old_tree.engine_rates(current.store / model, ENGINE_SIZES[model], trees, variables, seconds)
    for tree, each in zip(("", "before "), found, strict=False):
        current.measures[f"{tree}engine {model}"] = each["images"] / each["seconds"]
        current.measures[f"{tree}engine {model} CPU ms"] = each["cpu_s"] / each["images"] * 1e3


def in_process(
    name: str, current: Round, *, model: str, uploads: Sequence[CorpusImage] = (), longer: float = 1
) -> None:
    """Measure the model in processes without a server. Without `uploads` the contest's are used."""
    contest = current.contest("same", model, longer)
    found = _printed("in_process", contest, uploads or contest.uploads, contest.seconds, contest.warm_up_s)
    current.measures[f"{name}limit"] = found["images_per_s"]
    for each in found["arrangements"]:
        current.measures[f"{name}limit, {each['engines']} engines"] = each["images_per_s"]


def limits(current: Round) -> None:
    """Measure the classifier in processes without a server, with images of one size and with the mix."""
    in_process("", current, model=CLASSIFIER)
    in_process("mix ", current, model=CLASSIFIER, uploads=current.mix, longer=MIX_FACTOR)


def ours(current: Round) -> None:
    """Measure this service with one caller, 16 callers, other numbers of callers, and large photos."""
    measures = current.measures
    with started(CONTESTANTS["ours"], current.contest("same"), IN_FLIGHT) as entry:
        _compare(entry, current, "ours")
        measures["first answer"] = entry.first_answer_s
        lone = _printed("lone_request", entry.contest, entry.contest.uploads, entry.url, current.schedule.lone)
        _add_figures(current, "lone", lone["served"]["all"])
        _add_figures(current, "in-process", lone["in_process"]["all"])
        usual = entry.measure(CALLERS)
        measures["ours"] = measures[f"ours {CALLERS.amount:g}"] = usual.summary.images_per_s
        _add_memory(current, usual, "")
        _add_profile(current, usual)
        for callers in (*current.schedule.caller_counts, MANY_CALLERS):
            if callers != CALLERS.amount:
                requests = _posts(entry, corpus.make([entry.contest.size]), LONG_TIMEOUT)
                found = entry.measure(Load("closed", callers), requests)
                measures[f"ours {callers}"] = found.summary.images_per_s
                measures[f"ours {callers} errors"] = found.summary.errors
        large = _posts(entry, corpus.make([LARGE]), {})
        found = entry.measure(CALLERS, large, longer=LARGE_FACTOR)
        measures["ours 12 MP"] = found.summary.images_per_s
        _add_memory(current, found, "most ")
        _measure_mix(entry, current, CALLERS, "mix ours")
        _measure_latency(entry, current, "ours")


def before(current: Round) -> None:
    """Measure the service of the older tree with 16 callers, images of one size and the mix."""
    _, service, variables = current.old
    with started(service, current.contest("same"), variables) as entry:
        _compare(entry, current, "before", "usual")  # the same weights; the trees may differ in decoder and form
        current.measures["before"] = entry.measure(CALLERS).summary.images_per_s
        _measure_mix(entry, current, CALLERS, "mix before")


def before_null(current: Round) -> None:
    """Measure the service of the older tree with the null model."""
    _, service, variables = current.old
    with started(service, current.contest("null"), variables) as entry:
        current.measures["before null one"] = entry.measure(Load("closed", 2 * IMAGES)).summary.images_per_s


def null(current: Round) -> None:
    """Measure this service with the null model: many images in a request, and one."""
    with started(CONTESTANTS["ours"], current.contest("null"), IN_FLIGHT) as entry:
        body = http_connection.form(corpus.make([entry.contest.size], per_size=IMAGES))
        many = [http_connection.post(entry.url, *body, {}, IMAGES)]
        current.measures["null one"] = entry.measure(Load("closed", 2 * IMAGES)).summary.images_per_s
        current.measures["null many"] = entry.measure(Load("closed", 2), many).summary.images_per_s


def measure_peer(peer: str, kind: str, current: Round, *, contest: Contest | None = None, prefix: str = "") -> None:
    """Measure another server under the usual load."""
    with started(CONTESTANTS[peer], contest or current.contest(kind)) as entry:
        _compare(entry, current, peer)
        load = SEGMENT_CALLERS if prefix else CALLERS
        current.measures[f"{prefix}{kind} {peer}"] = entry.measure(load).summary.images_per_s
        if f"{kind} {peer}" == RIVAL and not prefix:
            _measure_latency(entry, current, RIVAL)


def segment(current: Round) -> None:
    """Measure a segmenter, in fewer repeats: its network takes so long that serving costs almost nothing."""
    if current.index >= current.schedule.segment_repeats:
        return
    in_process("segment ", current, model=SEGMENTER, longer=SEGMENT_FACTOR)
    with started(CONTESTANTS["ours"], current.contest("same", SEGMENTER, SEGMENT_FACTOR)) as entry:
        _compare(entry, current, "ours")
        current.measures["segment ours"] = entry.measure(SEGMENT_CALLERS).summary.images_per_s
        _measure_mix(entry, current, SEGMENT_CALLERS, "segment mix ours")
    for kind, peer in (("same", "mosec"), ("usual", "fastapi")):
        contest = current.contest(kind, SEGMENTER, SEGMENT_FACTOR)
        measure_peer(peer, kind, current, contest=contest, prefix="segment ")


def before_segment(current: Round) -> None:
    """Measure the segmenter with the service of the older tree."""
    if current.index >= current.schedule.segment_repeats:
        return
    _, service, variables = current.old
    with started(service, current.contest("same", SEGMENTER, SEGMENT_FACTOR), variables) as entry:
        current.measures["segment before"] = entry.measure(SEGMENT_CALLERS).summary.images_per_s
        _measure_mix(entry, current, SEGMENT_CALLERS, "segment mix before")


STAGES: dict[str, Stage] = {
    "engine": partial(engine, model=CLASSIFIER),
    "engine-segment": partial(engine, model=SEGMENTER),
    "in-process": limits,
    "ours": ours,
    "before": before,
    **{f"same-{peer}": partial(measure_peer, peer, "same") for peer in PEERS},
    **{f"usual-{peer}": partial(measure_peer, peer, "usual") for peer in ("torchserve", "fastapi")},
    "null": null,
    "before-null": before_null,
    SEGMENT.name: segment,
    f"before-{SEGMENT.name}": before_segment,
}
OLD_STAGES = ("before", "before-null", f"before-{SEGMENT.name}")  # those that need an older tree


def _printed(program: str, contest: Contest, uploads: Sequence[CorpusImage], *words: object) -> dict[str, Any]:
    """Return what a program beside this module prints as JSON. It gets a folder with the uploads, and the words."""
    with tempfile.TemporaryDirectory(prefix="uploads-") as folder:
        for index, each in enumerate(uploads):
            Path(folder, f"{index:03}-{each.name}").write_bytes(each.content)
        done = subprocess.run(  # noqa: S603 - a program of this project
            [sys.executable, "-m", f"benchmarks.bars.{program}", folder, *map(str, words)],
            env={**os.environ, **contest.environment},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ContestError(f"{program} with {contest.model} fails: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _compare(entry: Entry, current: Round, name: str, kind: str | None = None) -> None:
    model = entry.contest.model
    given = checked_answers(entry, current.answers.get(model), kind or entry.contest.kind, "ours")
    if name == "ours":
        current.answers.setdefault(model, given)


def _posts(entry: Entry, uploads: Sequence[CorpusImage], headers: dict[str, str]) -> list[Request]:
    return [http_connection.post(entry.url, each.content, each.media_type, headers) for each in uploads]


def _measure_mix(entry: Entry, current: Round, load: Load, name: str) -> None:
    requests = _posts(entry, current.mix, LONG_TIMEOUT)
    found = entry.measure(load, requests, longer=MIX_FACTOR)
    current.measures[name] = found.summary.images_per_s
    current.measures[f"{name} errors"] = found.summary.errors


def _measure_latency(entry: Entry, current: Round, name: str) -> None:
    """Measure the latency of independent callers, at shares of the throughput that 16 callers got."""
    for share in current.schedule.shares:
        rate = share * current.measures[name]
        found = entry.measure(Load("poisson", rate)).summary
        current.measures[f"{name} at {share:.0%}"] = rate
        _add_figures(current, f"{name} at {share:.0%}", found.latency_ms)


def _add_figures(current: Round, name: str, found: Mapping[str, float | None]) -> None:
    for share in ("p50", "p95", "p99"):
        value = found[share]
        if value is not None:
            current.measures[f"{name} {share}"] = value


def _add_profile(current: Round, found: Trial) -> None:
    """Record the milliseconds of each stage and the cores of each kind of process."""
    for stage, times in found.summary.stages_ms.items():
        current.measures[f"stage {stage} p50"] = times["p50"] or 0.0
    for each in found.processes:
        name = f"cores {each.command}"
        current.measures[name] = current.measures.get(name, 0.0) + each.cores


def _add_memory(current: Round, found: Trial, which: str) -> None:
    """Record the resident memory of the gateway and of the worker; of several, the largest."""
    for name, command in (("gateway", "service gateway"), ("worker", "model_service_worker.py")):
        resident = [each.rss_mb for each in found.processes if each.command == command]
        if resident:
            current.measures[f"{name} {which}MB"] = max(resident)
    current.measures[f"gateway with child processes {which}MB"] = sum(
        each.rss_mb for each in found.processes if each.command not in NOT_GATEWAY
    )
