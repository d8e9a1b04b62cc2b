"""Decide which series of gauges describe what is served now.

A series cannot be removed once processes share it in a file, so those of removed models are left out of the text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client import Metric

from service.models.cards import ModelCard

READINESS = "resnest_model_ready"
# The labels of a model's series, from few to many. A series with all labels of a row must have a served model's values.
ROWS = (("model",), ("model", "version"), ("model", "version", "task", "precision"))

IsCurrent = Callable[[str, Mapping[str, str]], bool]


class Collects(Protocol):
    """A registry of metrics."""

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""


def labels_of(card: ModelCard) -> dict[str, str]:
    """Return the values of the labels of a model's series that its card has."""
    named = {"model": card.name, "version": card.version, "task": card.task}
    return named | {"precision": card.serving.precision}


class CurrentSeries:
    """Which series of gauges are current. Before a model or group is named, all are."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        self._groups: set[str] | None = None

    def set_models(self, cards: Iterable[ModelCard]) -> None:
        """Name the served models."""
        found = [labels_of(card) for card in cards]
        self._served = {row: {tuple(labels[name] for name in row) for labels in found} for row in ROWS}

    def set_groups(self, groups: Iterable[str]) -> None:
        """Name the groups of models that can replace each other."""
        self._groups = set(groups)

    def is_current(self, metric: str, labels: Mapping[str, str]) -> bool:
        """Return whether a gauge's series describes something that is served."""
        if metric == READINESS and self._groups is not None:
            return labels["model"] in self._groups
        for row, served in self._served.items():
            if labels.keys() >= set(row) and tuple(labels[name] for name in row) not in served:
                return False
        return True


class CurrentMetrics:
    """The metrics of a registry, without the series of gauges that are not current."""

    def __init__(self, registry: Collects, is_current: IsCurrent) -> None:
        self._registry = registry
        self._is_current = is_current

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        for metric in self._registry.collect():
            if metric.type == "gauge":
                metric.samples = [each for each in metric.samples if self._is_current(metric.name, each.labels)]
            yield metric
