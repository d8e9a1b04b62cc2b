"""What several loads together say: where a service's knee is, and how much it bears within a bound."""

from collections.abc import Sequence

from service.measure.load.trial import Load, Trial

# Of the throughput of a closed loop, the offered rates of a sweep: below the knee, around it and beyond.
SHARES = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)


def rates(capacity: float) -> list[Load]:
    """The open loads of a sweep of a service that answers `capacity` requests a second in a closed loop."""
    return [Load("poisson", share * capacity) for share in SHARES]


def knee(trials: Sequence[Trial]) -> Trial | None:
    """The load of the highest power, throughput over mean latency (Kleinrock 1979); None of fewer than three.

    Before it more load brings more throughput, behind it mostly more waiting.
    """
    powers = [(trial.summary.requests_per_s / mean, trial) for trial in trials if (mean := _latency(trial, "mean"))]
    return max(powers, key=lambda pair: pair[0])[1] if len(powers) >= 3 else None


def within(trials: Sequence[Trial], p95_ms: float) -> Trial | None:
    """The load of the highest throughput that was borne without an error and within a 95th percentile."""
    borne = [
        trial
        for trial in trials
        if (reached := _latency(trial, "p95")) is not None and reached <= p95_ms and not trial.summary.errors
    ]
    return max(borne, key=lambda trial: trial.summary.requests_per_s, default=None)


def _latency(trial: Trial, figure: str) -> float | None:
    return trial.summary.latency_ms[figure]
