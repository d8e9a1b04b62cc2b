"""Derive the numbers of a deployment from what one model server does."""

import math
from dataclasses import dataclass

# Of the capacity. Above it the wait grows fast, and the other servers could not take over the load of one that fails.
PLANNED_SHARE = 0.7
# That a gateway asks for, and the share of them above which the autoscaler adds one: deploy/kubernetes/base.
GATEWAY_CORES = 2.0
GATEWAY_SHARE = 0.6
LEAST_SLOTS = 64  # the default of RESNEST_MAX_IN_FLIGHT


@dataclass(frozen=True)
class Measured:
    """What one model server does: images/s within the latency bound, and images in flight at `PLANNED_SHARE` of that.

    `gateway_core_s` is the CPU time in seconds that the gateway and its decode processes use for an image. It is None
    if their processes could not be seen.
    """

    images_per_s: float
    in_flight: float
    gateway_core_s: float | None


@dataclass(frozen=True)
class Fleet:
    """The largest number of model servers, the smallest number of gateways, and the latency bound in seconds."""

    max_workers: int
    min_gateways: int
    p95_s: float


@dataclass(frozen=True)
class Sizing:
    """The numbers: targets of the workers' autoscaler, RESNEST_MAX_IN_FLIGHT, and the most gateways, if known."""

    in_flight_target: float
    images_per_s_target: float
    max_in_flight: int
    max_gateways: int | None


def in_flight(images_per_s: float, queue_ms: float, inference_ms: float) -> float:
    """Return how many images wait or run on average (Little's law): the rate times the time of an image there."""
    return images_per_s * (queue_ms + inference_ms) / 1e3


def size(measured: Measured, fleet: Fleet) -> Sizing:
    """Return the numbers for a fleet.

    The slots of the fewest gateways hold twice what all workers are scaled for, and what all workers answer within the
    latency bound. With fewer, gateways reject requests while workers are idle.
    """
    target = max(1.0, measured.in_flight)
    wanted = fleet.max_workers * max(2 * target, measured.images_per_s * fleet.p95_s)
    gateways = None
    if measured.gateway_core_s is not None:
        cores = fleet.max_workers * measured.images_per_s * measured.gateway_core_s
        gateways = max(fleet.min_gateways + 1, math.ceil(cores / (GATEWAY_SHARE * GATEWAY_CORES)))
    return Sizing(
        in_flight_target=target,
        images_per_s_target=PLANNED_SHARE * measured.images_per_s,
        max_in_flight=max(LEAST_SLOTS, math.ceil(wanted / fleet.min_gateways)),
        max_gateways=gateways,
    )
