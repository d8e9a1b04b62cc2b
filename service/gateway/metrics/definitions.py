"""Define the gateway's Prometheus metrics.

A comment names the readers of each metric. Label values come only from routes, cards, key names and error classes.
"""

import math
import socket
from pathlib import Path

from service import __version__
from service.config.settings import Settings
from service.errors import every_error
from service.gateway.metrics import label_values as values
from service.gateway.metrics.model_metrics import ModelMetrics
from service.gateway.metrics.series import LATEST, MAX, SUM
from service.gateway.metrics.tracing import NO_SPANS, Tracing
from service.tasks import TASKS


class Metrics(ModelMetrics):
    """The metrics of one app."""

    def __init__(self, shared: Path | None = None, spans: Tracing = NO_SPANS, *, counts_restarts: bool = True) -> None:
        """Create them, in a folder that gateway processes share if `shared` is one.

        Each of the processes sees every worker, so only one of them should count restarts.
        """
        super().__init__(shared, spans, counts_restarts=counts_restarts)
        self._define_access_metrics()
        self._define_instance_metrics()
        self._define_process_metrics()
        self._define_limits()

    def _define_access_metrics(self) -> None:
        # Read by: alert on keys that cannot be reloaded.
        self.keys_stale = self._gauge(
            "resnest_keys_stale", "1 if API keys or token keys could not be reloaded and are out of date", ["of"], MAX
        )
        for source in ("keys", "tokens"):
            self.keys_stale.labels(source)
        # Read by: alert on keys that expire soon.
        self.next_key_expiry = self._gauge(
            "resnest_next_key_expiry_timestamp_seconds",
            "Unix time at which the next API key expires, +Inf if none does",
            [],
            LATEST,
        )
        self.next_key_expiry.set(math.inf)
        # Read by: alert on a traffic file that cannot be reloaded.
        self.traffic_stale = self._gauge(
            "resnest_traffic_stale", "1 if the traffic file is invalid and the previous shares stay in force", [], MAX
        )
        # Read by: alert on models that were not reloaded.
        self.reload_failed = self._gauge(
            "resnest_model_reload_failed", "1 if the last reload of the models failed and changed nothing", [], LATEST
        )
        # Read by: alert on an unavailable rate limit store.
        self.rate_limit_store_unavailable = self._gauge(
            "resnest_rate_limit_store_unavailable",
            "1 if Redis, which holds the shared rate limits, does not answer",
            [],
            MAX,
        )

    def _define_instance_metrics(self) -> None:
        # Read by: dashboard "Overview", alert on an instance that is not ready.
        self.ready = self._gauge("resnest_ready", "1 if /readyz returns 200", [], LATEST)
        # Read by: dashboard "Overview" (versions while rolling out). `host` is the pod's name in Kubernetes.
        build = self._gauge("resnest_build_info", "Always 1", ["version", "host"], MAX)
        build.labels(__version__, socket.gethostname()).set(1)

    def _define_process_metrics(self) -> None:
        # Read by: dashboard "Stages" (decode processes lost), alert on decode processes that crash or are killed.
        self.decode_processes_lost = self._counter(
            "resnest_decode_processes_lost_total", "Decode processes that ended during a job", ["reason"]
        )
        # Read by: dashboard "Memory" (response cache).
        self.cache_lookups = self._counter(
            "resnest_cache_lookups_total", "Images looked up in the response cache, by outcome", ["outcome"]
        )
        # Read by: dashboard "Memory" (response cache).
        self.cache_bytes = self._gauge("resnest_cache_bytes", "Size of the response cache in bytes", [], SUM)
        # Read by: dashboard "Memory" (shared memory).
        self.shared_memory_bytes = self._gauge(
            "resnest_shared_memory_bytes", "Shared memory that holds decoded images, in bytes", [], SUM
        )
        # Read by: dashboard "Stages" (decode processes lost).
        self.gateway_restarts = self._counter(
            "resnest_gateway_restarts_total", "Gateway processes started to replace one that ended", []
        )

    def _define_limits(self) -> None:
        # Read by: alert on a saturated queue, dashboards "Batching", "Load" (slots).
        self.in_flight_limit = self._gauge(
            "resnest_inference_in_flight_limit", "Images that may be in flight for a model", [], SUM
        )
        # Read by: dashboard "Memory" (response cache size).
        self.cache_limit = self._gauge("resnest_cache_limit_bytes", "Limit of the response cache in bytes", [], SUM)
        # Read by: dashboard "Memory" (shared memory).
        self.shared_memory_limit = self._gauge(
            "resnest_shared_memory_limit_bytes", "Limit of the shared memory for decoded images, in bytes", [], SUM
        )

    def set_limits(self, settings: Settings) -> None:
        """Report the limits of this process."""
        self.in_flight_limit.set(settings.max_in_flight)
        self.cache_limit.set(settings.cache_bytes)
        self.shared_memory_limit.set(settings.shared_memory_bytes)

    def start_at_zero(self) -> None:
        """Create the series of all known label values with value 0, so that `rate()` counts the first event."""
        for found in values.CACHE_OUTCOMES:
            self.cache_lookups.labels(found)
        for reason in values.LOSS_REASONS:
            self.decode_processes_lost.labels(reason)
        for error in every_error():
            self.problems.labels(error.code())
        for route in (endpoint.path for task in TASKS.values() for endpoint in task.endpoints):
            self.caller_deadlines.labels(route)
            self.background_rejections.labels(route)
            for status in values.STATUSES:
                self.requests.labels(route, "POST", status)

    def count_cache_lookup(self, outcome: values.CacheOutcome, cache_bytes: int) -> None:
        """Count a lookup in the response cache, and set the size of the cache in bytes."""
        self.cache_lookups.labels(outcome).inc()
        self.cache_bytes.set(cache_bytes)

    def count_lost_process(self, reason: str) -> None:
        """Count a decode process that ended during a job; `reason` is one of `LOSS_REASONS`."""
        self.decode_processes_lost.labels(reason).inc()
