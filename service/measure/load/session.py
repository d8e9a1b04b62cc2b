"""A measurement from beginning to end: pictures to requests, every load in turn, tables and documents of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from service.measure.load import corpus, plot, report, sweep, usage, wire
from service.measure.load.corpus import Picture
from service.measure.load.trial import Load, Plan, Progress, Trial, probe, trial
from service.measure.load.wire import Address, Request
from service.measure.tables import table

ROUTES = {"classify": "/v1/classify", "segment": "/v1/segment"}
CALLERS = 16  # where nothing is said: enough to fill batches of 8 twice

Say = Callable[[str], None]
Watch = Callable[[Load, Progress], None]


@dataclass(frozen=True)
class SessionOptions:
    """What to measure and how. `concurrency` are closed loops, `rate` open ones; none of both is `CALLERS` callers."""

    url: str
    task: Literal["classify", "segment"] = "classify"
    path: str | None = None
    model: str | None = None
    concurrency: tuple[float, ...] = ()
    rate: tuple[float, ...] = ()
    arrivals: Literal["poisson", "constant"] = "poisson"
    is_sweep: bool = False
    duration: float = 10.0
    warm_up: float = 2.0
    timeout: float = 30.0
    pictures: Path | None = None
    size: tuple[corpus.Size, ...] = ()
    images: int = 1
    header: tuple[tuple[str, str], ...] = ()
    allow_p95: float | None = None
    pid: int | None = None
    seed: int = 0

    @property
    def target(self) -> str:
        """Where the pictures are sent."""
        query = f"?{urlencode({'model': self.model})}" if self.model else ""
        return self.url.rstrip("/") + (self.path or ROUTES[self.task] + query)

    def corpus(self) -> list[Picture]:
        """The pictures that are sent. Raises `CorpusError`."""
        return corpus.read(self.pictures) if self.pictures else corpus.make(self.size, seed=self.seed)

    @property
    def loads(self) -> list[Load]:
        """The loads that are known before; a sweep's follow from what its one closed loop gives."""
        if self.rate and not self.is_sweep:
            return [Load(self.arrivals, rate) for rate in self.rate]
        callers = self.concurrency or (CALLERS,)
        return [Load("closed", max(1, round(count))) for count in (callers[-1:] if self.is_sweep else callers)]


async def measure(options: SessionOptions, say: Say, watch: Watch) -> list[Trial]:
    """Every load in turn. Raises `CorpusError`, `RefusedError`, or `ValueError` for an address that is none."""
    address = Address.of(options.target)
    pictures = options.corpus()
    plan = Plan(
        address,
        requests_of(options, pictures),
        options.duration,
        options.warm_up,
        options.timeout,
        seed=options.seed,
        pid=options.pid or usage.root_of(address),
    )
    say(told(options, pictures))
    await probe(plan)
    trials = [await _one(plan, load, watch) for load in options.loads]
    if not options.is_sweep:
        return trials
    capacity = trials[0].summary.requests_per_s
    # Another seed: two loads of one rate must not send at the same moments.
    plans = [replace(plan, seed=plan.seed + place) for place in range(len(sweep.SHARES))]
    return [await _one(plan, load, watch) for plan, load in zip(plans, sweep.rates(capacity), strict=True)]


async def _one(plan: Plan, load: Load, watch: Watch) -> Trial:
    return await trial(plan, load, lambda progress: watch(load, progress))


def requests_of(options: SessionOptions, pictures: Sequence[Picture]) -> list[Request]:
    """The requests that take turns: a picture as a raw body, several as a form."""
    headers = dict(options.header)
    if options.images == 1:
        return [wire.post(options.target, each.content, each.media_type, headers) for each in pictures]
    turns = cycle(pictures)
    groups = [list(islice(turns, options.images)) for _ in range(max(1, len(pictures) // options.images))]
    return [wire.post(options.target, *wire.form(group), headers, options.images) for group in groups]


def text(options: SessionOptions, trials: Sequence[Trial]) -> str:
    """The tables, and the load that is borne within the 95th percentile allowed."""
    tables = (each(trials) for each in report.TABLES)
    parts = [table(head, rows) for head, rows in tables if rows]
    if options.allow_p95 is not None:
        best = sweep.within(trials, options.allow_p95)
        found = f"{best.load}, {best.summary.pictures_per_s:.1f} pictures/s" if best else "none of these loads"
        parts.append(f"Within {options.allow_p95:g} ms at the 95th percentile and without an error: {found}")
    return "\n\n".join(parts)


def document(options: SessionOptions, trials: Sequence[Trial]) -> dict[str, Any]:
    """Everything as JSON values."""
    return report.document(options.target, described(options), trials)


def page(options: SessionOptions, trials: Sequence[Trial]) -> str:
    """Everything as an HTML page with plots."""
    return plot.page(options.target, told(options, options.corpus()), trials)


def told(options: SessionOptions, pictures: Sequence[Picture]) -> str:
    """What is measured, in a line."""
    mean = sum(len(each.content) for each in pictures) / len(pictures) / 1000
    sent = f"{len(pictures)} pictures of {mean:.0f} kB in the mean, {options.images} a request"
    return f"{options.target}: {sent}; {options.duration:g} s after {options.warm_up:g} s of warm-up"


def described(options: SessionOptions) -> dict[str, Any]:
    """The pictures, as JSON values."""
    sizes = [f"{width}x{height}" for width, height in options.size]
    return {"from": options.pictures.name if options.pictures else sizes, "in_a_request": options.images}
