"""A whole measurement: it builds requests from images, applies each load in turn and reports the results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from service.measure.load import corpus, http_connection, mix, plot, report, sweep, usage
from service.measure.load.corpus import CorpusImage
from service.measure.load.http_connection import Address, Request
from service.measure.load.trial import Load, Plan, Progress, Trial, probe, trial
from service.measure.tables import Table
from service.tasks import endpoints

CALLERS = 16  # the default: enough to fill batches of 8 twice

Say = Callable[[str], None]
Watch = Callable[[Load, Progress], None]


@dataclass(frozen=True)
class SessionOptions:
    """What to measure, and how.

    `concurrency` lists closed loops, `rate` open loops. Without both, one closed loop has `CALLERS` callers.
    """

    url: str
    task: str | None = None  # the name of an endpoint, the first one by default
    path: str | None = None
    model: str | None = None
    concurrency: tuple[float, ...] = ()
    rate: tuple[float, ...] = ()
    arrivals: Literal["poisson", "constant"] = "poisson"
    is_sweep: bool = False
    duration: float = 10.0
    warm_up: float = 2.0
    timeout: float = 30.0
    image_folder: Path | None = None
    mix: bool = False
    size: tuple[corpus.Size, ...] = ()
    images: int = 1
    header: tuple[tuple[str, str], ...] = ()
    allow_p95: float | None = None
    pid: int | None = None
    seed: int = 0

    @property
    def target(self) -> str:
        """The URL to which the images are sent."""
        query = f"?{urlencode({'model': self.model})}" if self.model else ""
        known = endpoints()
        endpoint = known[self.task or next(iter(known))]
        return self.url.rstrip("/") + (self.path or endpoint.path + query)

    @cached_property
    def uploads(self) -> list[CorpusImage]:
        """The images to send. Reading it for the first time raises `CorpusError` if there are none."""
        if self.mix:
            return mix.make(mix.read_photos(self.image_folder) if self.image_folder else (), self.seed)
        return corpus.read(self.image_folder) if self.image_folder else corpus.make(self.size, seed=self.seed)

    @property
    def loads(self) -> list[Load]:
        """The loads to apply first. The open loops of a sweep follow from the throughput of its closed loop."""
        if self.rate and not self.is_sweep:
            return [Load(self.arrivals, rate) for rate in self.rate]
        callers = self.concurrency or (CALLERS,)
        return [Load("closed", max(1, round(count))) for count in (callers[-1:] if self.is_sweep else callers)]


async def measure(options: SessionOptions, say: Say, watch: Watch) -> list[Trial]:
    """Apply each load in turn. Raises `CorpusError`, `ProbeFailedError`, or `ValueError` for an invalid URL."""
    address = Address.of(options.target)
    uploads = options.uploads
    plan = Plan(
        address,
        requests_of(options, uploads),
        options.duration,
        options.warm_up,
        options.timeout,
        seed=options.seed,
        pid=options.pid or usage.root_of(address),
    )
    say(description(options, uploads))
    await probe(plan)
    trials = [await _measure_load(plan, load, watch) for load in options.loads]
    if not options.is_sweep:
        return trials
    capacity = trials[0].summary.requests_per_s
    # Each load has another seed, so that no two loads send at the same times.
    plans = [replace(plan, seed=plan.seed + index) for index in range(len(sweep.SHARES))]
    return [await _measure_load(plan, load, watch) for plan, load in zip(plans, sweep.rates(capacity), strict=True)]


async def _measure_load(plan: Plan, load: Load, watch: Watch) -> Trial:
    return await trial(plan, load, lambda progress: watch(load, progress))


def requests_of(options: SessionOptions, uploads: Sequence[CorpusImage]) -> list[Request]:
    """Return the requests to send in rotation: one image as a raw body, several as a form."""
    headers = dict(options.header)
    if options.images == 1:
        return [http_connection.post(options.target, each.content, each.media_type, headers) for each in uploads]
    repeated = cycle(uploads)
    groups = [list(islice(repeated, options.images)) for _ in range(max(1, len(uploads) // options.images))]
    return [
        http_connection.post(options.target, *http_connection.form(group), headers, options.images) for group in groups
    ]


def tables(options: SessionOptions, trials: Sequence[Trial]) -> list[Table | str]:
    """Return the tables, and a sentence about the highest load within the allowed 95th percentile."""
    every = (each(trials) for each in report.TABLES)
    parts: list[Table | str] = [(head, rows) for head, rows in every if rows]
    if options.allow_p95 is not None:
        best = sweep.within(trials, options.allow_p95)
        found = f"{best.load}, {best.summary.images_per_s:.1f} images/s" if best else "none of these loads"
        parts.append(f"Within {options.allow_p95:g} ms at the 95th percentile and without an error: {found}")
    return parts


def document(options: SessionOptions, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the whole measurement as JSON values."""
    return report.document(options.target, corpus_document(options), trials)


def page(options: SessionOptions, trials: Sequence[Trial]) -> str:
    """Return the whole measurement as an HTML page with plots."""
    return plot.page(options.target, description(options, options.uploads), trials)


def description(options: SessionOptions, uploads: Sequence[CorpusImage]) -> str:
    """Return one line that says what is measured."""
    mean = sum(len(each.content) for each in uploads) / len(uploads) / 1000
    sent = f"{len(uploads)} images, {mean:.0f} kB on average, {options.images} per request"
    return f"{options.target}: {sent}; {options.duration:g} s after {options.warm_up:g} s of warm-up"


def corpus_document(options: SessionOptions) -> dict[str, Any]:
    """Return where the images come from and how many a request has, as JSON values."""
    source: Any = [f"{width}x{height}" for width, height in options.size]
    if options.mix or options.image_folder:
        names = ["mix"] * options.mix + ([options.image_folder.name] if options.image_folder else [])
        source = " of ".join(names)
    return {"from": source, "per_request": options.images}
