"""Create Prometheus series in a registry of one app, and write them as text."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from service.config.settings import MEBIBYTE
from service.gateway.metrics.current_series import CurrentMetrics, CurrentSeries
from service.gateway.metrics.tracing import NO_SPANS, ExemplarOf, Tracing

# OpenTelemetry's recommended buckets for request durations, plus 2.5 ms for warm GPUs and 15 and 30 s for deadlines.
SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 15, 30)
BYTES = (10_000, 50_000, 100_000, 250_000, 500_000, MEBIBYTE, 2 * MEBIBYTE, 5 * MEBIBYTE, 10 * MEBIBYTE, 20 * MEBIBYTE)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# How several processes' values of a gauge are combined. Processes that have ended do not count.
Aggregation = Literal["livesum", "livemax", "livemostrecent"]
SUM: Final = "livesum"
MAX: Final = "livemax"
LATEST: Final = "livemostrecent"
Labelled = TypeVar("Labelled", Counter, Gauge, Histogram)


class Series:
    """A registry of metrics of one app, so that several apps can run in one process.

    `shared` is a folder in which several gateway processes keep their metrics; `text` then returns the totals over all
    of them. A gauge is summed if each process holds a part of it; otherwise it is the maximum or the latest value.
    """

    def __init__(self, shared: Path | None = None, tracing: Tracing = NO_SPANS) -> None:
        """Create a registry. Measurements of requests that `tracing` records have exemplars."""
        self._shared = shared
        self.tracing = tracing
        self._histogram_type = Histogram if tracing.exemplar is None else _exemplified(tracing.exemplar)
        # Not `set_function`: its values are not written to the files that processes share.
        self._set_at_scrape: list[tuple[Gauge, Callable[[], float]]] = []
        self._models_at_scrape: list[tuple[Gauge, Callable[[], float]]] = []  # until other models are served
        self._current = CurrentSeries()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the _created series have no reader
        self.registry = CollectorRegistry()
        if shared is None:
            # The usual series of a process: memory, processor time, open files. Several processes would mix theirs.
            # Read by: dashboard "Memory" (gateway process, open files).
            ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format 0.0.4, over all processes if they share a folder."""
        return self.exposition("")[0]

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format that the header `Accept` asks for, and its media type.

        Only OpenMetrics has exemplars, and only of a single process: the files that processes share have no place for
        them.
        """
        for gauge, value in (*self._set_at_scrape, *self._models_at_scrape):
            gauge.set(value())
        encode, media_type = choose_encoder(accept)
        if self._shared is None:
            return encode(self._reported(self.registry)), media_type
        try:
            return encode(self._reported(_merged(self._shared))), media_type
        except FileNotFoundError:  # a new process took over the files of an ended one meanwhile
            return encode(self._reported(_merged(self._shared))), media_type

    def set_at_scrape(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Set a gauge to what the function returns whenever the metrics are read."""
        self._set_at_scrape.append((gauge, value))

    def set_groups(self, groups: Iterable[str]) -> None:
        """Report the readiness of these groups only."""
        self._current.set_groups(groups)

    def _reported(self, registry: CollectorRegistry) -> CurrentMetrics:
        return CurrentMetrics(registry, self._current.is_current)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return _with_cached_labels(Counter(name, text, labels, registry=self.registry))

    def _gauge(self, name: str, text: str, labels: list[str], aggregation: Aggregation) -> Gauge:
        return _with_cached_labels(Gauge(name, text, labels, registry=self.registry, multiprocess_mode=aggregation))

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return _with_cached_labels(self._histogram_type(name, text, labels, registry=self.registry, buckets=buckets))


def _with_cached_labels(metric: Labelled) -> Labelled:
    """Cache the metric's series: a lookup without prometheus_client's lock and checks takes 0.1 instead of 2.5 µs."""
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    return metric


def _exemplified(labels_of: ExemplarOf) -> type[Histogram]:
    """Return a kind of histogram whose observations have exemplars."""

    class ExemplifiedHistogram(Histogram):
        def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
            super().observe(amount, exemplar or labels_of())

    return ExemplifiedHistogram


def _merged(folder: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return registry
