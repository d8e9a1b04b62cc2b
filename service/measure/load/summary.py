"""Samples to figures: exact percentiles, throughput, errors by code."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.measure.load.generator import OK, TIMED_OUT, Sample

PERCENTILES = (50, 90, 95, 99, 99.9)

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Window:
    """The seconds that count, of the samples' clock: what comes before is warm-up."""

    start: float
    end: float


@dataclass(frozen=True)
class Summary:
    """What one load gave. Times are milliseconds.

    Throughput counts the good answers that arrived inside the window. Latencies and lags are of the requests due
    inside it: of good answers, and of those given up, with the time after which they were (at least as bad). `lag` is
    how late the generator sent: where it is not small against the latency, the generator was the bottleneck.
    """

    seconds: float
    requests_per_s: float
    pictures_per_s: float
    requests: int
    outcomes: dict[str, int]
    latency_ms: Figures
    lag_ms: Figures
    stages_ms: dict[str, Figures]

    @property
    def errors(self) -> int:
        """The requests due in the window that got no good answer."""
        return sum(count for outcome, count in self.outcomes.items() if outcome != OK)


def summarise(samples: Iterable[Sample], window: Window) -> Summary:
    """The figures of the samples in a window."""
    samples = list(samples)
    seconds = window.end - window.start
    arrived = [each for each in samples if each.outcome == OK and window.start <= each.ended < window.end]
    due = [each for each in samples if window.start <= each.scheduled < window.end]
    told = [each.stages for each in due]
    stages = sorted(set().union(*told))
    return Summary(
        seconds=seconds,
        requests_per_s=len(arrived) / seconds,
        pictures_per_s=sum(each.pictures for each in arrived) / seconds,
        requests=len(due),
        outcomes=dict(Counter(each.outcome for each in due)),
        latency_ms=figures([each.latency_s * 1e3 for each in due if each.outcome in {OK, TIMED_OUT}]),
        lag_ms=figures([(each.sent - each.scheduled) * 1e3 for each in due]),
        stages_ms={stage: figures([each[stage] for each in told if stage in each]) for stage in stages},
    )


def figures(values: Sequence[float]) -> Figures:
    """Mean, percentiles and maximum; a percentile that lies beyond the last but one value is None."""
    ordered = sorted(values)
    mean = sum(ordered) / len(ordered) if ordered else None
    shares = {f"p{share:g}": percentile(ordered, share) for share in PERCENTILES}
    return {"mean": mean, **shares, "max": ordered[-1] if ordered else None}


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value that `share` percent of the ascending values do not exceed (nearest rank).

    None where fewer values are above it than one: the maximum of 20 values says nothing about the 99th percentile.
    """
    rank = math.ceil(len(ordered) * share / 100)
    return ordered[rank - 1] if 0 < rank < len(ordered) or (rank and share <= 50) else None
