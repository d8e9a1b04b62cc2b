"""Results of several loads together: the knee, and the highest load within a latency bound."""

from collections.abc import Sequence

from service.measure.load.trial import Load, Trial

# The offered rates of a sweep as shares of the closed loop's throughput: below the knee, around it and beyond it.
SHARES = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)


def rates(capacity: float) -> list[Load]:
    """Return the open loads of a sweep, for a service that answers `capacity` requests per second in a closed loop."""
    return [Load("poisson", share * capacity) for share in SHARES]


def knee(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the highest power: throughput over mean latency (Kleinrock 1979).

    Below the knee, more load brings more throughput. Above it, more load mostly brings more waiting. Return None if
    fewer than three trials have a latency.
    """
    powers = [(trial.summary.requests_per_s / mean, trial) for trial in trials if (mean := _latency(trial, "mean"))]
    return max(powers, key=lambda pair: pair[0])[1] if len(powers) >= 3 else None


def within(trials: Sequence[Trial], p95_ms: float) -> Trial | None:
    """Return the trial with the highest throughput that had no error and a 95th percentile of at most `p95_ms`."""
    accepted = [
        trial
        for trial in trials
        if (reached := _latency(trial, "p95")) is not None and reached <= p95_ms and not trial.summary.errors
    ]
    return max(accepted, key=lambda trial: trial.summary.requests_per_s, default=None)


def _latency(trial: Trial, figure: str) -> float | None:
    return trial.summary.latency_ms[figure]
