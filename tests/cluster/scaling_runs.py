"""The loads under which the shipped autoscalers are observed. All run at the same time, each in its own namespace."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.measure.capacity.component import IN_FLIGHT, OFFERED
from service.measure.capacity.sizing import PLANNED_SHARE
from tests.cluster import shipped
from tests.cluster.fleet import Cluster, Fleet
from tests.cluster.kubelet import NodePool
from tests.cluster.plant import BatchCurve

RISE_S, RAMP_S, FALL_S, END_S = 45.0, 150.0, 330.0, 720.0
LOST_S: Final = 30.0  # a metric is lost before the load rises
FACTOR: Final = 5.0

PLAIN: Final = NodePool()
Rate = Callable[[float], float]


def planned(curve: BatchCurve) -> float:
    """Return the images a second that one worker is meant to have."""
    return PLANNED_SHARE * curve.capacity


def step(curve: BatchCurve) -> Rate:
    """Return a load for one worker that is five times as high between `RISE_S` and `FALL_S`."""
    return lambda now: planned(curve) * (FACTOR if RISE_S <= now < FALL_S else 1.0)


def ramp(curve: BatchCurve) -> Rate:
    """Return the same load, which takes `RAMP_S` to rise."""

    def rate(now: float) -> float:
        risen = min(1.0, max(0.0, (now - RISE_S) / RAMP_S)) if now < FALL_S else 0.0
        return planned(curve) * (1.0 + (FACTOR - 1.0) * risen)

    return rate


@dataclass(frozen=True)
class ScalingRun:
    """One load on one deployment. `lost` are metrics without a value from `lost_s` on."""

    name: str
    rate: Rate
    curve: BatchCurve = shipped.CPU
    overlay: str = "base"
    is_sized: bool = False
    pool: NodePool = PLAIN
    lost: frozenset[str] = frozenset()
    lost_s: float = LOST_S

    def wanted(self, now: float) -> int:
        """Return the workers that a load needs at `PLANNED_SHARE` of their capacity, at least two."""
        return max(2, math.ceil(self.rate(now) / planned(self.curve) - 1e-9))


RUNS: Final = (
    ScalingRun("step", step(shipped.CPU)),
    ScalingRun("step-sized", step(shipped.CPU), is_sized=True),
    ScalingRun("ramp", ramp(shipped.CPU)),
    ScalingRun("ramp-sized", ramp(shipped.CPU), is_sized=True),
    ScalingRun("no-metric", step(shipped.CPU), lost=frozenset((IN_FLIGHT, OFFERED)), lost_s=0.0),
    ScalingRun("lost", step(shipped.CPU), lost=frozenset((IN_FLIGHT,))),
    ScalingRun("lost-sized", step(shipped.CPU), is_sized=True, lost=frozenset((IN_FLIGHT,))),
    ScalingRun("three-gpus", step(shipped.GPU), shipped.GPU, "overlays/gpu", pool=NodePool(gpus=3)),
)


def deploy(cluster: Cluster, run: ScalingRun, folder: Path) -> Fleet:
    """Deploy a run, and return its fleet, which has no load yet."""
    components = [shipped.sized(folder / run.name, run.curve)] if run.is_sized else []
    found = shipped.manifests(run.name, run.overlay, components)
    fleet = shipped.fleet(run.name, found, run.curve, run.rate)
    fleet.metrics.lose(run.lost, run.lost_s)
    cluster.deploy(fleet, found, run.pool)
    return fleet
