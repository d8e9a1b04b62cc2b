"""Define the gateway's Prometheus metrics.

A comment names the readers of each metric. Label values come only from routes, model cards, key names and error
classes.
"""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service import __version__
from service.config.settings import MEBIBYTE
from service.errors import ServiceError

# OpenTelemetry's recommended buckets for request durations, plus 2.5 ms for warm GPUs and 15 and 30 s for deadlines.
SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 15, 30)
BYTES = (10_000, 50_000, 100_000, 250_000, 500_000, MEBIBYTE, 2 * MEBIBYTE, 5 * MEBIBYTE, 10 * MEBIBYTE, 20 * MEBIBYTE)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

CacheOutcome = Literal["hit", "coalesced", "miss"]
CACHE_OUTCOMES: Final[tuple[CacheOutcome, ...]] = ("hit", "coalesced", "miss")
LOSS_REASONS: Final = ("spinning", "killed", "crashed", "given_up")  # why a decode process ended during its job
SHADOW_OUTCOMES = ("compared", "failed", "dropped")
RETRY_OUTCOMES = ("answered", "failed")
# How several processes' values of a gauge are combined. Processes that have ended do not count.
Aggregation = Literal["livesum", "livemax", "livemostrecent"]
SUM: Final = "livesum"
MAX: Final = "livemax"
LATEST: Final = "livemostrecent"
Labelled = TypeVar("Labelled", Counter, Gauge, Histogram)

STAGES = ("upload", "decode", "queue", "inference", "encode")


class Metrics:
    """The metrics of one app, in its own registry, so that several apps can run in one process.

    `shared` is a folder in which several gateway processes keep their metrics; `text` then returns the totals over all
    of them. A gauge is summed if each process holds a part of it; otherwise it is the maximum or the latest value.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        # Not `set_function`: its values are not written to the files that processes share.
        self._set_at_scrape: list[tuple[Gauge, Callable[[], float]]] = []
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the _created series have no reader
        self.registry = CollectorRegistry()
        self._define_request_metrics()
        self._define_image_metrics()
        self._define_model_metrics()
        self._define_version_metrics()
        self._define_process_metrics()

    def _define_request_metrics(self) -> None:
        # Read by: dashboard "Requests" (rate, errors), alerts on the share of 5xx.
        self.requests = self._counter(
            "resnest_http_requests_total", "HTTP requests completed", ["route", "method", "status"]
        )
        # Read by: dashboard "Requests" (latency), alert on the 99th percentile.
        self.duration = self._histogram(
            "resnest_http_request_duration_seconds",
            "Time from the start of a request to the end of its response",
            ["route", "method"],
            SECONDS,
        )
        # Read by: dashboard "Requests" (callers). The label is the name of the API key: one series a key.
        self.callers = self._counter(
            "resnest_caller_requests_total",
            "Requests by caller and by whether access was granted",
            ["caller", "outcome"],
        )
        # Read by: alert on keys that cannot be reloaded.
        self.keys_stale = self._gauge(
            "resnest_keys_stale", "1 if API keys or token keys could not be reloaded and are out of date", ["of"], MAX
        )
        for source in ("keys", "tokens"):
            self.keys_stale.labels(source)
        # Read by: alert on a traffic file that cannot be reloaded.
        self.traffic_stale = self._gauge(
            "resnest_traffic_stale", "1 if the traffic file is invalid and the previous shares stay in force", [], MAX
        )
        # Read by: alert on an unavailable rate limit store.
        self.rate_limit_store_unavailable = self._gauge(
            "resnest_rate_limit_store_unavailable",
            "1 if Redis, which holds the shared rate limits, does not answer",
            [],
            MAX,
        )
        # Read by: dashboard "Requests" (saturation).
        self.in_flight = self._gauge("resnest_http_requests_in_flight", "HTTP requests in progress", ["route"], SUM)
        # Read by: dashboard "Requests" (problems by code).
        self.problems = self._counter("resnest_problems_total", "Problem documents returned, by problem code", ["code"])

    def _define_image_metrics(self) -> None:
        # Read by: dashboard "Images" (where the time goes).
        self.stages = self._histogram(
            "resnest_stage_duration_seconds", "Time an image spends in each stage", ["model", "stage"], SECONDS
        )
        # Read by: dashboard "Images" (upload sizes).
        self.upload_bytes = self._histogram("resnest_upload_bytes", "Size of a request body in bytes", ["route"], BYTES)
        # Read by: dashboard "Images" (throughput by model, outcomes), alert on failed images.
        self.images = self._counter("resnest_images_total", "Images by model and outcome", ["model", "outcome"])
        # Read by: dashboard "Images" (response cache).
        self.cache_lookups = self._counter(
            "resnest_cache_lookups_total", "Images looked up in the response cache, by outcome", ["outcome"]
        )
        # Read by: dashboard "Images" (response cache).
        self.cache_bytes = self._gauge("resnest_cache_bytes", "Size of the response cache in bytes", [], SUM)

    def _define_model_metrics(self) -> None:
        # Read by: dashboard "Models" (batching).
        self.batch_size = self._histogram(
            "resnest_batch_size",
            "Images in the forward pass; each image of the batch is one sample",
            ["model"],
            BATCH_SIZES,
        )
        # Read by: the horizontal autoscaler of the workers, dashboard "Models" (queue).
        self.inference_in_flight = self._gauge(
            "resnest_inference_in_flight", "Images queued for a model or being computed by it", ["model"], SUM
        )
        # Read by: dashboard "Models" (workers), alert on missing workers.
        self.workers_ready = self._gauge("resnest_workers_ready", "Workers that are ready", ["model"], LATEST)
        # Read by: dashboard "Models" (workers), alert on missing workers.
        self.workers_configured = self._gauge(
            "resnest_workers_configured", "Workers that the model server is configured to run", ["model"], LATEST
        )
        # Read by: dashboard "Models" (replicas), alert on a circuit breaker that stays open.
        self.circuit_breakers = self._gauge(
            "resnest_circuit_breakers", "Replicas by circuit breaker state", ["model", "state"], MAX
        )
        # Read by: dashboard "Models" (replicas).
        self.retries = self._counter(
            "resnest_retries_total",
            "Retries: on another replica or connection, or of one image from a failed batch",
            ["model", "outcome"],
        )
        # Read by: dashboard "Overview", alert on an instance that is not ready.
        self.ready = self._gauge("resnest_ready", "1 if /readyz returns 200", [], LATEST)
        # Read by: dashboard "Overview" (versions while rolling out).
        self._gauge("resnest_build_info", "Always 1", ["version"], MAX).labels(__version__).set(1)

    def _define_version_metrics(self) -> None:
        # Read by: dashboard "Versions" (shares); the other panels of that row take the version names from it.
        self.version_share = self._gauge(
            "resnest_version_share",
            "Share of the requests without a version that this version of the model receives, 0 to 1",
            ["model", "family", "version"],
            LATEST,
        )
        # Read by: dashboard "Versions" (shadow traffic).
        self.shadow_images = self._counter(
            "resnest_shadow_images_total",
            "Images chosen for shadow traffic, by outcome",
            ["family", "version", "outcome"],
        )
        # Read by: dashboard "Versions" (agreement).
        self.shadow_agreement = self._counter(
            "resnest_shadow_agreement_total",
            "Sum over compared images of the agreement with the returned answer, 0 to 1 each",
            ["family", "version"],
        )

    def _define_process_metrics(self) -> None:
        # Read by: dashboard "Images" (decode processes lost), alert on decode processes that crash or are killed.
        self.decode_processes_lost = self._counter(
            "resnest_decode_processes_lost_total", "Decode processes that ended during a job", ["reason"]
        )

        # Read by: dashboard "Images" (decode processes lost).
        self.gateway_restarts = self._counter(
            "resnest_gateway_restarts_total", "Gateway processes started to replace one that ended", []
        )

    def count_rejected(self, error: ServiceError) -> None:
        """Count a request that was rejected before it reached the application, and so before its route was known."""
        self.problems.labels(error.code()).inc()
        self.requests.labels("unparsed", "other", str(error.status)).inc()

    def start_at_zero(self, models: Iterable[str]) -> None:
        """Create the series of `models` with value 0, so that `rate()` counts the first image."""
        for found in CACHE_OUTCOMES:
            self.cache_lookups.labels(found)
        for reason in LOSS_REASONS:
            self.decode_processes_lost.labels(reason)
        for model in models:
            self.images.labels(model, "ok")
            self.inference_in_flight.labels(model)
            self.workers_ready.labels(model)
            self.workers_configured.labels(model)
            for outcome in RETRY_OUTCOMES:
                self.retries.labels(model, outcome)

    def add_version(self, model: str, family: str, version: str, share: Callable[[], float]) -> None:
        """Report a version's share at each scrape, and create its shadow traffic series."""
        self._set_at_scrape.append((self.version_share.labels(model, family, version), share))
        self.shadow_agreement.labels(family, version)
        for outcome in SHADOW_OUTCOMES:
            self.shadow_images.labels(family, version, outcome)

    def count_retry(self, model: str, outcome: str) -> None:
        """Count a retry of a request to a model; `outcome` is one of `RETRY_OUTCOMES`."""
        self.retries.labels(model, outcome).inc()

    def count_cache_lookup(self, outcome: CacheOutcome, cache_bytes: int) -> None:
        """Count a lookup in the response cache, and set the size of the cache in bytes."""
        self.cache_lookups.labels(outcome).inc()
        self.cache_bytes.set(cache_bytes)

    def count_lost_process(self, reason: str) -> None:
        """Count a decode process that ended during a job; `reason` is one of `LOSS_REASONS`."""
        self.decode_processes_lost.labels(reason).inc()

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format 0.0.4, over all processes if they share a folder."""
        for gauge, value in self._set_at_scrape:
            gauge.set(value())
        if self._shared is None:
            return generate_latest(self.registry)
        try:
            return _merged(self._shared)
        except FileNotFoundError:  # a new process took over the files of an ended one meanwhile
            return _merged(self._shared)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return _with_cached_labels(Counter(name, text, labels, registry=self.registry))

    def _gauge(self, name: str, text: str, labels: list[str], aggregation: Aggregation) -> Gauge:
        return _with_cached_labels(Gauge(name, text, labels, registry=self.registry, multiprocess_mode=aggregation))

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return _with_cached_labels(Histogram(name, text, labels, registry=self.registry, buckets=buckets))


def _with_cached_labels(metric: Labelled) -> Labelled:
    """Cache the metric's series: a lookup without prometheus_client's lock and checks takes 0.1 instead of 2.5 µs."""
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    return metric


def _merged(folder: Path) -> bytes:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry)
