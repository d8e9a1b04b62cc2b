"""The gateway's metrics. Each names its readers; label values come from routes, cards and error classes only."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service import __version__
from service.config.settings import MEBIBYTE
from service.errors import ServiceError

# OpenTelemetry's advice for request durations, with 2.5 ms for answers from warm GPUs and 15 and 30 s for deadlines.
SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 15, 30)
BYTES = (10_000, 50_000, 100_000, 250_000, 500_000, MEBIBYTE, 2 * MEBIBYTE, 5 * MEBIBYTE, 10 * MEBIBYTE, 20 * MEBIBYTE)
PICTURES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

How = Literal["hit", "coalesced", "miss"]
HOWS: Final[tuple[How, ...]] = ("hit", "coalesced", "miss")
REASONS: Final = ("spinning", "killed", "crashed", "given_up")  # why a decoding process ended under its job
SHADOW_OUTCOMES = ("compared", "failed", "dropped")
SECOND_TRIES = ("answered", "failed")
# How a gauge is told where several processes have it; those that have ended never count.
OverProcesses = Literal["livesum", "livemax", "livemostrecent"]
SUM: Final = "livesum"
WORST: Final = "livemax"
LAST: Final = "livemostrecent"
Labelled = TypeVar("Labelled", Counter, Gauge, Histogram)

STAGES = ("upload", "decode", "queue", "inference", "encode")


class Metrics:
    """All the metrics of one app, in a registry of its own, so that several apps can live in one process.

    With `shared`, the folder that this process and others keep theirs in, it tells the sums over all of them. A gauge
    is a sum where each process has a part of what it tells, and else the highest, or what was told last by any.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        # Not by `set_function`, whose values stay out of the files that processes share.
        self._told_when_asked: list[tuple[Gauge, Callable[[], float]]] = []
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the _created series have no reader
        self.registry = CollectorRegistry()
        self._make_those_of_requests()
        self._make_those_of_pictures()
        self._make_those_of_versions()
        self._make_those_of_processes()

    def _make_those_of_requests(self) -> None:
        # Read by: dashboard "Requests" (rate, errors), alerts on the share of 5xx.
        self.requests = self._counter("resnest_http_requests_total", "Requests ended", ["route", "method", "status"])
        # Read by: dashboard "Requests" (latency), alert on the 99th percentile.
        self.duration = self._histogram(
            "resnest_http_request_duration_seconds", "First byte to last", ["route", "method"], SECONDS
        )
        # Read by: dashboard "Requests" (callers). A caller is a key's name, so there are as many as keys.
        self.callers = self._counter(
            "resnest_caller_requests_total",
            "Requests by who sent them and whether they were let in",
            ["caller", "outcome"],
        )
        # Read by: alert on keys that are not read again.
        self.keys_stale = self._gauge(
            "resnest_keys_stale", "Whether what callers are told by is out of date", ["of"], WORST
        )
        for source in ("keys", "tokens"):
            self.keys_stale.labels(source)
        # Read by: alert on shares that are not read again.
        self.traffic_stale = self._gauge(
            "resnest_traffic_stale", "Whether the traffic file says what cannot be put in force", [], WORST
        )
        # Read by: alert on limits that are not shared.
        self.limits_failing = self._gauge(
            "resnest_rate_limit_store_unavailable",
            "Whether Redis, where callers' limits are shared, does not answer",
            [],
            WORST,
        )
        # Read by: dashboard "Requests" (saturation).
        self.in_flight = self._gauge("resnest_http_requests_in_flight", "Requests being served", ["route"], SUM)
        # Read by: dashboard "Requests" (problems by code).
        self.problems = self._counter("resnest_problems_total", "Problem documents sent", ["code"])

    def _make_those_of_pictures(self) -> None:
        # Read by: dashboard "Pictures" (where the time goes).
        self.stages = self._histogram(
            "resnest_stage_duration_seconds", "A picture's time in each stage", ["model", "stage"], SECONDS
        )
        # Read by: dashboard "Pictures" (upload sizes).
        self.upload_bytes = self._histogram("resnest_upload_bytes", "Bytes of a request's body", ["route"], BYTES)
        # Read by: dashboard "Pictures" (throughput by model, outcomes), alert on failing pictures.
        self.pictures = self._counter("resnest_images_total", "Pictures answered or failed", ["model", "outcome"])
        # Read by: dashboard "Pictures" (kept answers).
        self.recalls = self._counter(
            "resnest_cache_lookups_total", "Pictures by whether their answer was kept", ["how"]
        )
        # Read by: dashboard "Pictures" (kept answers).
        self.kept_bytes = self._gauge("resnest_cache_bytes", "Bytes of kept answers", [], SUM)
        # Read by: dashboard "Models" (batching).
        self.batch_size = self._histogram(
            "resnest_batch_size", "Pictures in the forward pass that answered, a sample a picture", ["model"], PICTURES
        )
        # Read by: the horizontal autoscaler of the workers, dashboard "Models" (queue).
        self.inference_in_flight = self._gauge(
            "resnest_inference_in_flight", "Pictures waiting for a model or in it", ["model"], SUM
        )
        # Read by: dashboard "Models" (workers), alert on missing workers.
        self.workers_ready = self._gauge("resnest_workers_ready", "Workers that can answer", ["model"], LAST)
        # Read by: dashboard "Models" (workers), alert on missing workers.
        self.workers_configured = self._gauge("resnest_workers_configured", "Workers there should be", ["model"], LAST)
        # Read by: dashboard "Models" (replicas), alert on circuits that stay open.
        self.circuits = self._gauge(
            "resnest_circuit_breakers", "Replicas by their circuit's state", ["model", "state"], WORST
        )
        # Read by: dashboard "Models" (replicas).
        self.second_tries = self._counter(
            "resnest_retries_total",
            "Exchanges made again: with another replica or connection, or apart for a picture of a batch",
            ["model", "outcome"],
        )
        # Read by: dashboard "Overview", alert on an instance that is not ready.
        self.ready = self._gauge("resnest_ready", "Whether /readyz says 200", [], LAST)
        # Read by: dashboard "Overview" (versions while rolling out).
        self._gauge("resnest_build_info", "Always 1", ["version"], WORST).labels(__version__).set(1)

    def _make_those_of_versions(self) -> None:
        # Read by: dashboard "Versions" (shares), and by all of that row, for the names of versions.
        self.version_share = self._gauge(
            "resnest_version_share",
            "A version's share of the requests that name its model without a version",
            ["model", "family", "version"],
            LAST,
        )
        # Read by: dashboard "Versions" (shadows).
        self.shadow_pictures = self._counter(
            "resnest_shadow_images_total",
            "Pictures that a shadow was to be shown, by what came of it",
            ["family", "version", "outcome"],
        )
        # Read by: dashboard "Versions" (agreement).
        self.shadow_agreement = self._counter(
            "resnest_shadow_agreement_total",
            "Sum over compared pictures of the agreement with the answer, 0 to 1",
            ["family", "version"],
        )

    def _make_those_of_processes(self) -> None:
        # Read by: dashboard "Pictures" (decoders lost), alert on decoders that crash or are killed.
        self.decoders_lost = self._counter(
            "resnest_decode_processes_lost_total", "Processes that ended while they decoded a picture", ["reason"]
        )

        # Read by: dashboard "Pictures" (decoders lost).
        self.replaced = self._counter(
            "resnest_gateway_restarts_total", "Gateway processes that took the place of one that ended", []
        )

    def refused(self, error: ServiceError) -> None:
        """Count a request that was refused before the application, and before its route was known."""
        self.problems.labels(error.code()).inc()
        self.requests.labels("unparsed", "other", str(error.status)).inc()

    def start_at_zero(self, models: Iterable[str]) -> None:
        """Make the series of `models` exist before their first picture, so that rates see the first one."""
        for how in HOWS:
            self.recalls.labels(how)
        for reason in REASONS:
            self.decoders_lost.labels(reason)
        for model in models:
            self.pictures.labels(model, "ok")
            self.inference_in_flight.labels(model)
            self.workers_ready.labels(model)
            self.workers_configured.labels(model)
            for outcome in SECOND_TRIES:
                self.second_tries.labels(model, outcome)

    def version(self, model: str, family: str, version: str, share: Callable[[], float]) -> None:
        """Tell a version's share at each scrape, and make its series as a shadow exist."""
        self._told_when_asked.append((self.version_share.labels(model, family, version), share))
        self.shadow_agreement.labels(family, version)
        for outcome in SHADOW_OUTCOMES:
            self.shadow_pictures.labels(family, version, outcome)

    def second_try(self, model: str, outcome: str) -> None:
        """Count that a model was asked a second time, and what came of it."""
        self.second_tries.labels(model, outcome).inc()

    def recalled(self, how: How, kept_bytes: int) -> None:
        """Count how a picture's answer was found, and tell what is kept now."""
        self.recalls.labels(how).inc()
        self.kept_bytes.set(kept_bytes)

    def lost(self, reason: str) -> None:
        """Count a process that ended under a picture."""
        self.decoders_lost.labels(reason).inc()

    def text(self) -> bytes:
        """The exposition in Prometheus's text format 0.0.4, of all processes where several share a folder."""
        for gauge, value in self._told_when_asked:
            gauge.set(value())
        if self._shared is None:
            return generate_latest(self.registry)
        try:
            return _merged(self._shared)
        except FileNotFoundError:  # a new process took over an old one's figures at this moment
            return _merged(self._shared)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return _remembering(Counter(name, text, labels, registry=self.registry))

    def _gauge(self, name: str, text: str, labels: list[str], over_processes: OverProcesses) -> Gauge:
        return _remembering(Gauge(name, text, labels, registry=self.registry, multiprocess_mode=over_processes))

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return _remembering(Histogram(name, text, labels, registry=self.registry, buckets=buckets))


def _remembering(metric: Labelled) -> Labelled:
    """The metric, which finds its series without prometheus_client's lock and checks: 0.1 instead of 2.5 µs each."""
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    return metric


def _merged(folder: Path) -> bytes:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry)
