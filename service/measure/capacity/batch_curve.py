"""The time of a batch by its size, from the closed loops of a capacity measurement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.measure.load.trial import Trial


@dataclass(frozen=True)
class BatchCurve:
    """A batch of n images takes `batch_s + n * image_s` seconds, for n up to `most`."""

    batch_s: float
    image_s: float
    most: int


def fit(trials: Sequence[Trial]) -> BatchCurve | None:
    """Return the curve that is nearest to the closed loops, None if fewer than two of them have what it needs.

    A lone caller's batches have one image. With more callers the model server is always busy, so the mean batch is its
    rate times the time of a batch. Batches that run at the same time count as one.
    """
    points = [point for each in trials if (point := _point(each))]
    if len(points) < 2:
        return None
    sizes, times = np.array(points).T
    most = max(1, round(float(sizes.max())))
    if np.ptp(sizes) < 0.5:  # it never builds batches
        return BatchCurve(0.0, float(np.mean(times / sizes)), most)
    slope, level = np.polyfit(sizes, times, 1)
    slope = max(0.0, float(slope))
    return BatchCurve(max(0.0, float(level) if slope else float(times.mean())), slope, most)


def _point(trial: Trial) -> tuple[float, float] | None:
    """Return the mean batch of a closed loop, and the seconds of a batch; None where the service reports no times."""
    milliseconds = trial.summary.stages_ms.get("inference", {}).get("mean")
    if trial.load.kind != "closed" or not milliseconds or trial.summary.errors:
        return None
    seconds = milliseconds / 1e3
    return max(1.0, min(trial.load.amount, trial.summary.images_per_s * seconds)), seconds
