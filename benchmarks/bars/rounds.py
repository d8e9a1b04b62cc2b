"""The stages of a repeat of `benchmarks.bars`: each starts something, puts its loads on it, and adds what it found."""

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
from benchmarks.contest.answers import Said
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.runner import Contest, ContestError, Entry, compared, started
from benchmarks.scoreboard import CROWD, PEERS, PICTURES
from service.measure.load import corpus, http_connection
from service.measure.load.corpus import Upload
from service.measure.load.http_connection import Request
from service.measure.load.trial import Load, Trial
from service.tasks.segmentation.segment import SEGMENT

CALLERS = Load("closed", 16)
LONE = Load("closed", 1)
SEGMENT_CALLERS = Load("closed", 4)
LARGE = (4032, 3024)
LONE_FOR = 2  # a 99th percentile is none of fewer than 101
LARGE_FOR = 2  # times as long: a photo of 12 megapixels takes some ten times as long as one of 0.17
SEGMENT_FOR = 3  # a batch of four takes seconds
CLASSIFIER, SEGMENTER = made_models.MADE
IN_FLIGHT = {"RESNEST_MAX_IN_FLIGHT": "512"}  # pictures; 64, the default, refuses the rest of 256 callers by design
NOT_THE_GATEWAYS = {"model_service_worker.py", "java", "benchmarks.contest.servers.ours_server"}
PATIENT = {"Request-Timeout": "60"}  # of 256 callers, some of whom wait longer than the card's 10 s on a slow machine


@dataclass(frozen=True)
class Pace:
    """How many repeats, how long each load takes, how many lone pictures in this process, and what crowds."""

    repeats: int
    seconds: float
    warm_up_s: float
    lone: int
    crowds: Sequence[int]
    segment_repeats: int

    def changed(self, repeats: int | None = None, seconds: float | None = None) -> Self:
        """With what was asked for instead."""
        return replace(self, repeats=repeats or self.repeats, seconds=seconds or self.seconds)

    def told(self) -> str:
        """As a phrase."""
        return f"{self.repeats} repeats, each load {self.seconds:g} s after {self.warm_up_s:g} s of warm-up"


@dataclass(frozen=True)
class Round:
    """One repeat: its place, the measures it adds to, and the answers, by model, that all must give."""

    store: Path
    pace: Pace
    place: int
    measures: MutableMapping[str, float] = field(default_factory=dict)
    answers: MutableMapping[str, list[Said]] = field(default_factory=dict)

    def contest(self, kind: str, model: str = CLASSIFIER, longer: float = 1) -> Contest:
        """What the contestants of a stage are given."""
        return Contest(kind, self.store, model, seconds=self.pace.seconds * longer, warm_up_s=self.pace.warm_up_s)


Stage = Callable[[Round], None]


def in_process(name: str, at: Round, *, model: str, longer: float = 1) -> None:
    """What the model gives where nothing serves it."""
    contest = at.contest("same", model, longer)
    width, height = contest.size
    words = (f"{width}x{height}", contest.seconds, contest.warm_up_s, at.pace.lone if longer == 1 else 1)
    done = subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-m", "benchmarks.bars.in_process", *map(str, words)],
        env={**os.environ, **contest.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ContestError(f"the in-process limit of {model} fails: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    at.measures[f"{name}limit"] = found["pictures_per_s"]
    if longer == 1:
        _add_figures(at, "in-process", found["lone_ms"])


def ours(at: Round) -> None:
    """This service: a lone caller, the usual number of them, crowds, and large photos."""
    with started(CONTESTANTS["ours"], at.contest("same"), IN_FLIGHT) as entry:
        _compare(entry, at, "ours")
        at.measures["first answer"] = entry.first_answer_s
        _add_figures(at, "lone", entry.measure(LONE, longer=LONE_FOR).summary.latency_ms)
        usual = entry.measure(CALLERS)
        at.measures["ours"] = at.measures[f"ours {CALLERS.amount:g}"] = usual.summary.pictures_per_s
        _add_memory(at, usual, "")
        _add_profile(at, usual)
        for callers in (*at.pace.crowds, CROWD):
            if callers != CALLERS.amount:
                found = entry.measure(
                    Load("closed", callers), _posts(entry, corpus.make([entry.contest.size]), PATIENT)
                )
                at.measures[f"ours {callers}"] = found.summary.pictures_per_s
                at.measures[f"ours {callers} errors"] = found.summary.errors
        large = _posts(entry, corpus.make([LARGE]), {})
        found = entry.measure(CALLERS, large, longer=LARGE_FOR)
        at.measures["ours 12 MP"] = found.summary.pictures_per_s
        _add_memory(at, found, "most ")


def null(at: Round) -> None:
    """This service around a model that costs nothing: many pictures in a request, and one."""
    with started(CONTESTANTS["ours"], at.contest("null"), IN_FLIGHT) as entry:
        pictures = corpus.make([entry.contest.size], per_size=PICTURES)
        body = http_connection.form(pictures)
        many = [http_connection.post(entry.url, *body, {}, PICTURES)]
        at.measures["null one"] = entry.measure(Load("closed", 2 * PICTURES)).summary.pictures_per_s
        at.measures["null many"] = entry.measure(Load("closed", 2), many).summary.pictures_per_s


def beside(peer: str, kind: str, at: Round, *, contest: Contest | None = None, prefix: str = "") -> None:
    """Another server under the usual load."""
    with started(CONTESTANTS[peer], contest or at.contest(kind)) as entry:
        _compare(entry, at, peer)
        load = SEGMENT_CALLERS if prefix else CALLERS
        at.measures[f"{prefix}{kind} {peer}"] = entry.measure(load).summary.pictures_per_s


def segment(at: Round) -> None:
    """A segmenter, which takes so long that serving costs next to nothing: in fewer repeats."""
    if at.place >= at.pace.segment_repeats:
        return
    in_process("segment ", at, model=SEGMENTER, longer=SEGMENT_FOR)
    with started(CONTESTANTS["ours"], at.contest("same", SEGMENTER, SEGMENT_FOR)) as entry:
        _compare(entry, at, "ours")
        at.measures["segment ours"] = entry.measure(SEGMENT_CALLERS).summary.pictures_per_s
    for kind, peer in (("same", "mosec"), ("usual", "fastapi")):
        beside(peer, kind, at, contest=at.contest(kind, SEGMENTER, SEGMENT_FOR), prefix="segment ")


STAGES: dict[str, Stage] = {
    "in-process": partial(in_process, "", model=CLASSIFIER),
    "ours": ours,
    **{f"same-{peer}": partial(beside, peer, "same") for peer in PEERS},
    **{f"usual-{peer}": partial(beside, peer, "usual") for peer in ("torchserve", "fastapi")},
    "null": null,
    SEGMENT.name: segment,
}


def _compare(entry: Entry, at: Round, name: str) -> None:
    model = entry.contest.model
    given = compared(entry, at.answers.get(model), entry.contest.kind, "ours")
    if name == "ours":
        at.answers.setdefault(model, given)


def _posts(entry: Entry, pictures: Sequence[Upload], headers: dict[str, str]) -> list[Request]:
    return [http_connection.post(entry.url, each.content, each.media_type, headers) for each in pictures]


def _add_figures(at: Round, name: str, found: Mapping[str, float | None]) -> None:
    for share in ("p50", "p99"):
        value = found[share]
        if value is not None:
            at.measures[f"{name} {share}"] = value


def _add_profile(at: Round, found: Trial) -> None:
    """Where the time goes under the usual load: milliseconds of each stage, cores of each kind of process."""
    for stage, times in found.summary.stages_ms.items():
        at.measures[f"stage {stage} p50"] = times["p50"] or 0.0
    for each in found.processes:
        name = f"cores {each.command}"
        at.measures[name] = at.measures.get(name, 0.0) + each.cores


def _add_memory(at: Round, found: Trial, which: str) -> None:
    """What the gateway and the worker hold; the largest where there are several."""
    for name, command in (("gateway", "service gateway"), ("worker", "model_service_worker.py")):
        held = [each.rss_mb for each in found.processes if each.command == command]
        if held:
            at.measures[f"{name} {which}MB"] = max(held)
    at.measures[f"gateway and all it started {which}MB"] = sum(
        each.rss_mb for each in found.processes if each.command not in NOT_THE_GATEWAYS
    )
