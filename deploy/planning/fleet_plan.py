"""Plan a large fleet: servers for the images of a day, images of a number of GPUs, gateways, limits, and cells."""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.planning import day_shapes
from deploy.planning.day_shapes import DAY_S, HOUR_S
from deploy.planning.fleet_day import behavior, simulate
from deploy.planning.policies import Fleet, both
from deploy.planning.server_kinds import ServerKind
from service.gateway.metrics import STAGES, Metrics
from service.host.torchserve import MOST_CONNECTIONS
from service.measure.capacity.sizing import GATEWAY_SHARE
from service.models import cards
from service.tasks import endpoints
from service.tasks.frame import RUNTIMES

SHAPE: Final = day_shapes.day_and_night
HOURS: Final = 24
RAMP_S: Final = 600  # in which a cell can start all its servers
DEPLOY: Final = Path(__file__).parents[1]
STARTERS: Final = ("starter-classifier", "starter-segmenter", "starter-detector")
SAMPLE_PEAK: Final = 20  # servers of the fleet whose day is simulated, to know what autoscaling saves


@dataclass(frozen=True)
class Plan:
    """A fleet of one kind of servers for all images of a day. Regions share the load, and any one of them may fail."""

    kind: ServerKind
    servers: int
    peak: float
    cost_per_million: float
    autoscaled_cost_per_million: float
    gateway_processes: int
    gateway_cost_per_million: float
    upload_gigabits: float
    pixel_gigabits: float


@dataclass(frozen=True)
class Limit:
    """A limit, and what a fleet in one piece needs of it."""

    name: str
    needed: float
    limit: float

    @property
    def ratio(self) -> float:
        """How many times more is needed than there is."""
        return self.needed / self.limit


def peak_of(images_per_day: float) -> float:
    """Return the images a second at the highest load of a day."""
    return images_per_day / DAY_S / day_shapes.mean(SHAPE)


def spread(servers: float, regions: int) -> int:
    """Return the servers of all regions if the others can carry the load of one that fails."""
    return regions * math.ceil(servers / max(1, regions - 1))


def plan(kind: ServerKind, service: dict[str, float]) -> Plan:
    """Return the fleet for `images_per_day`."""
    images, regions = service["images_per_day"], int(service["regions"])
    peak = peak_of(images)
    fleet = Fleet(kind, peak, SHAPE)
    servers = spread(fleet.needed(peak), regions)
    cost = servers * HOURS * kind.price_per_hour / (images / 1e6)
    cores = peak * service["gateway_core_s"] / GATEWAY_SHARE
    gateways = spread(cores / service["gateway_process_cores"], regions)
    gateway_price = service["gateway_process_cores"] * service["gateway_core_price"]
    return Plan(
        kind,
        servers,
        peak,
        cost,
        cost * autoscaled_share(kind),
        gateways,
        gateways * HOURS * gateway_price / (images / 1e6),
        peak * service["upload_bytes"] * 8 / 1e9,
        peak * service["network_bytes"] * 8 / 1e9,
    )


@cache
def autoscaled_share(kind: ServerKind) -> float:
    """Return the hours of servers that autoscaling by both signals uses, as a share of those of a fixed fleet."""
    peak = SAMPLE_PEAK * Fleet(kind, 0.0, SHAPE).planned
    day = simulate(Fleet(kind, peak, SHAPE), both)
    return day.server_hours / (SAMPLE_PEAK * HOURS)


def images_per_day(kind: ServerKind, service: dict[str, float]) -> float:
    """Return the images a day that `gpus` servers answer if one region may fail."""
    regions = int(service["regions"])
    carrying = service["gpus"] * (regions - 1) / regions
    return carrying * Fleet(kind, 0.0, SHAPE).planned * DAY_S * day_shapes.mean(SHAPE)


def limits(found: Plan, service: dict[str, float]) -> list[Limit]:
    """Return what a fleet in one piece needs of each limit, the scarcest first."""
    up = behavior()["scaleUp"]["policies"][0]
    growth = (
        found.servers * (SHAPE(15 * HOUR_S) - SHAPE(3 * HOUR_S)) / 12
    )  # from the lowest load of the day to the highest
    most_gateways = _manifest("base/autoscaling.yaml", "HorizontalPodAutoscaler")["maxReplicas"]
    (prometheus,) = _manifest("components/monitoring/prometheus.yaml", "Deployment")["template"]["spec"]["containers"]
    memory = int(prometheus["resources"]["limits"]["memory"].removesuffix("Mi")) << 20
    rows = [
        Limit(
            "gateway processes with a connection of their own to each worker", found.gateway_processes, MOST_CONNECTIONS
        ),
        Limit("gateways that the autoscaler may make", found.gateway_processes, most_gateways),
        Limit("model servers that the autoscaler adds in an hour", growth, up["value"] * HOUR_S / up["periodSeconds"]),
        Limit("series in Prometheus", found.gateway_processes * series(), memory / service["series_bytes"]),
        Limit(
            "nodes in a cluster of Kubernetes", found.servers / service["gpus_per_node"], service["kubernetes_nodes"]
        ),
    ]
    return sorted(rows, key=lambda row: -row.ratio)


@cache
def series() -> int:
    """Return how many series a gateway with the starter models has after one image of each in each stage."""
    metrics, store = Metrics(), DEPLOY.parent / "model_store"
    metrics.start_at_zero()
    served = [cards.parse(store / name) for name in STARTERS]
    metrics.serve(served, lambda _card: 1.0)
    for card in served:
        metrics.report_runtime(card, RUNTIMES[0])
    for name in STARTERS:
        metrics.batch_size.labels(name)
        for stage in STAGES:
            metrics.stages.labels(name, stage)
    for endpoint in endpoints().values():
        metrics.duration.labels(endpoint.path, "POST")
        metrics.upload_bytes.labels(endpoint.path)
    return sum(len(each.samples) for each in metrics.registry.collect())


def _manifest(path: str, kind: str) -> dict[str, Any]:
    """Return the `spec` of the only resource of a kind in a file of deploy/kubernetes."""
    text = (DEPLOY / "kubernetes" / path).read_text(encoding="utf-8")
    (found,) = [each["spec"] for each in yaml.safe_load_all(text) if each["kind"] == kind]
    return dict(found)


@dataclass(frozen=True)
class Cell:
    """A part of the fleet with a name, an autoscaler and a Prometheus of its own."""

    servers: int
    gateways: int
    count: int


def cell(found: Plan) -> Cell:
    """Return the largest cell whose workers can serve all its gateways, and that can start all workers in `RAMP_S`."""
    per_server = found.gateway_processes / found.servers
    servers = max(1, min(math.floor(MOST_CONNECTIONS / per_server), _added_in(RAMP_S)))
    return Cell(servers, math.ceil(servers * per_server), math.ceil(found.servers / servers))


def _added_in(seconds: float) -> int:
    """Return how many servers the shipped autoscaler adds in a time."""
    up = behavior()["scaleUp"]["policies"][0]
    return int(up["value"] * seconds / up["periodSeconds"])
