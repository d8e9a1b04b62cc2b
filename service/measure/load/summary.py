"""Statistics of samples: exact percentiles, throughput and errors by code."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.measure.load.generator import OK, TIMED_OUT, Sample

PERCENTILES = (50, 90, 95, 99, 99.9)

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Window:
    """The measured interval in seconds of the samples' clock. What happens before it is warm-up."""

    start: float
    end: float


@dataclass(frozen=True)
class Summary:
    """The results of one load. Times are in milliseconds.

    Throughput counts the successful replies that arrived inside the window. Latency and lag are of the requests that
    were due inside it. Latency is of successful replies and of timeouts: a timeout counts with the time waited, as a
    lower bound. `lag` is how late the generator sent. If it is not small compared with the latency, the generator was
    the bottleneck.
    """

    seconds: float
    requests_per_s: float
    images_per_s: float
    requests: int
    outcomes: dict[str, int]
    latency_ms: Figures
    lag_ms: Figures
    stages_ms: dict[str, Figures]

    @property
    def errors(self) -> int:
        """The number of requests due in the window that got no successful reply."""
        return sum(count for outcome, count in self.outcomes.items() if outcome != OK)


def summarise(samples: Iterable[Sample], window: Window) -> Summary:
    """Return the statistics of the samples in a window."""
    samples = list(samples)
    seconds = window.end - window.start
    arrived = [each for each in samples if each.outcome == OK and window.start <= each.ended < window.end]
    due = [each for each in samples if window.start <= each.scheduled < window.end]
    timings = [each.stages for each in due]
    stages = sorted(set().union(*timings))
    return Summary(
        seconds=seconds,
        requests_per_s=len(arrived) / seconds,
        images_per_s=sum(each.images for each in arrived) / seconds,
        requests=len(due),
        outcomes=dict(Counter(each.outcome for each in due)),
        latency_ms=figures([each.latency_s * 1e3 for each in due if each.outcome in {OK, TIMED_OUT}]),
        lag_ms=figures([(each.sent - each.scheduled) * 1e3 for each in due]),
        stages_ms={stage: figures([each[stage] for each in timings if stage in each]) for stage in stages},
    )


def figures(values: Sequence[float]) -> Figures:
    """Return mean, percentiles and maximum. A percentile for which there are too few values is None."""
    ordered = sorted(values)
    mean = sum(ordered) / len(ordered) if ordered else None
    shares = {f"p{share:g}": percentile(ordered, share) for share in PERCENTILES}
    return {"mean": mean, **shares, "max": ordered[-1] if ordered else None}


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value that `share` percent of the ascending values do not exceed (nearest rank).

    Return None if no value is above it: the maximum of 20 values says nothing about the 99th percentile.
    """
    rank = math.ceil(len(ordered) * share / 100)
    return ordered[rank - 1] if 0 < rank < len(ordered) or (rank and share <= 50) else None
