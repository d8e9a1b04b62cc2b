"""Measure a simulated worker as `resnest-service capacity` measures a real one."""

from typing import Final

import numpy as np

from service.measure.capacity.sizing import PLANNED_SHARE, Measured, in_flight
from service.measure.capacity.step_test import SHARES
from tests.cluster.plant import BatchCurve, Plant

SECONDS: Final = 120.0  # of each load
WARM_UP_S: Final = 10.0


def measured(curve: BatchCurve, p95_s: float, gateway_core_s: float) -> Measured:
    """Return the highest rate within `p95_s`, and the images in flight at `PLANNED_SHARE` of that.

    Raises `ValueError` if no load keeps `p95_s`.
    """
    rates = [share * curve.capacity for share in SHARES]
    reached = [rate for rate in rates if np.percentile(times(curve, rate), 95) <= p95_s]
    if not reached:
        raise ValueError(f"no load has a 95th percentile of at most {p95_s} s")
    planned = PLANNED_SHARE * max(reached)
    mean_ms = 1e3 * float(np.mean(times(curve, planned)))
    return Measured(max(reached), in_flight(planned, 0.0, mean_ms), gateway_core_s)


def times(curve: BatchCurve, rate: float) -> list[float]:
    """Return the seconds that one worker takes for each image of an open loop."""
    plant = Plant(curve, slots=1_000_000, deadline_s=1e9, rate=lambda _now: rate)
    plant.set_pods(["worker"], [], gateways=1)
    plant.advance(WARM_UP_S)
    plant.times.clear()
    plant.advance(WARM_UP_S + SECONDS)
    return plant.times
