"""The stages of a repeat of `benchmarks.bars`. Each starts a server, applies its loads and records the figures."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from benchmarks import made_models
from benchmarks.contest.answers import Answer
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.runner import Contest, ContestError, Entry, checked_answers, started
from benchmarks.scoreboard import IMAGES, MANY_CALLERS, PEERS
from service.measure.load import corpus, http_connection
from service.measure.load.corpus import CorpusImage
from service.measure.load.http_connection import Request
from service.measure.load.trial import Load, Trial
from service.tasks.segmentation.segment import SEGMENT

CALLERS = Load("closed", 16)
LONE = Load("closed", 1)
SEGMENT_CALLERS = Load("closed", 4)
LARGE = (4032, 3024)
# Factors for the duration of a load.
LONE_FACTOR = 2  # A 99th percentile needs more than 100 requests.
LARGE_FACTOR = 2  # An image of 12 megapixels takes about ten times as long as one of 0.17.
SEGMENT_FACTOR = 3  # A batch of four takes seconds.
CLASSIFIER, SEGMENTER = made_models.MADE
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

    def changed(self, repeats: int | None = None, seconds: float | None = None) -> Self:
        """Return a copy with other values, where given."""
        return replace(self, repeats=repeats or self.repeats, seconds=seconds or self.seconds)

    def __str__(self) -> str:
        return f"{self.repeats} repeats, each load {self.seconds:g} s after {self.warm_up_s:g} s of warm-up"


@dataclass(frozen=True)
class Round:
    """One repeat: its index, the figures it records, and the expected answers by model."""

    store: Path
    schedule: Schedule
    index: int
    measures: MutableMapping[str, float] = field(default_factory=dict)
    answers: MutableMapping[str, list[Answer]] = field(default_factory=dict)

    def contest(self, kind: str, model: str = CLASSIFIER, longer: float = 1) -> Contest:
        """Return what the contestants of a stage get. `longer` is a factor of the duration of each load."""
        seconds = self.schedule.seconds * longer
        return Contest(kind, self.store, model, seconds=seconds, warm_up_s=self.schedule.warm_up_s)


Stage = Callable[[Round], None]


def in_process(name: str, current: Round, *, model: str, longer: float = 1) -> None:
    """Measure the model in a process without a server."""
    contest = current.contest("same", model, longer)
    width, height = contest.size
    words = (f"{width}x{height}", contest.seconds, contest.warm_up_s, current.schedule.lone if longer == 1 else 1)
    done = subprocess.run(  # noqa: S603 - a program of this project
        [sys.executable, "-m", "benchmarks.bars.in_process", *map(str, words)],
        env={**os.environ, **contest.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ContestError(f"the in-process measurement of {model} fails: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    current.measures[f"{name}limit"] = found["images_per_s"]
    if longer == 1:
        _add_figures(current, "in-process", found["lone_ms"])


def ours(current: Round) -> None:
    """Measure this service with one caller, 16 callers, other numbers of callers, and large photos."""
    measures = current.measures
    with started(CONTESTANTS["ours"], current.contest("same"), IN_FLIGHT) as entry:
        _compare(entry, current, "ours")
        measures["first answer"] = entry.first_answer_s
        _add_figures(current, "lone", entry.measure(LONE, longer=LONE_FACTOR).summary.latency_ms)
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


def segment(current: Round) -> None:
    """Measure a segmenter, in fewer repeats: its network takes so long that serving costs almost nothing."""
    if current.index >= current.schedule.segment_repeats:
        return
    in_process("segment ", current, model=SEGMENTER, longer=SEGMENT_FACTOR)
    with started(CONTESTANTS["ours"], current.contest("same", SEGMENTER, SEGMENT_FACTOR)) as entry:
        _compare(entry, current, "ours")
        current.measures["segment ours"] = entry.measure(SEGMENT_CALLERS).summary.images_per_s
    for kind, peer in (("same", "mosec"), ("usual", "fastapi")):
        contest = current.contest(kind, SEGMENTER, SEGMENT_FACTOR)
        measure_peer(peer, kind, current, contest=contest, prefix="segment ")


STAGES: dict[str, Stage] = {
    "in-process": partial(in_process, "", model=CLASSIFIER),
    "ours": ours,
    **{f"same-{peer}": partial(measure_peer, peer, "same") for peer in PEERS},
    **{f"usual-{peer}": partial(measure_peer, peer, "usual") for peer in ("torchserve", "fastapi")},
    "null": null,
    SEGMENT.name: segment,
}


def _compare(entry: Entry, current: Round, name: str) -> None:
    model = entry.contest.model
    given = checked_answers(entry, current.answers.get(model), entry.contest.kind, "ours")
    if name == "ours":
        current.answers.setdefault(model, given)


def _posts(entry: Entry, uploads: Sequence[CorpusImage], headers: dict[str, str]) -> list[Request]:
    return [http_connection.post(entry.url, each.content, each.media_type, headers) for each in uploads]


def _add_figures(current: Round, name: str, found: Mapping[str, float | None]) -> None:
    for share in ("p50", "p99"):
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
