"""Which series of gauges are shown after the models have changed."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from service.gateway.metrics.current_series import READINESS, CurrentMetrics, CurrentSeries, labels_of
from service.models.cards import ModelCard


def test_before_the_models_are_known_every_series_is_current() -> None:
    assert CurrentSeries().is_current("resnest_workers_ready", {"model": "a"})


def test_a_series_of_a_model_a_version_or_a_precision_that_is_not_served_is_not_current(
    served: dict[str, ModelCard],
) -> None:
    current, card = CurrentSeries(), served["tiny-classifier"]
    current.set_models([card])

    assert current.is_current("resnest_workers_ready", {"model": "tiny-classifier"})
    assert not current.is_current("resnest_workers_ready", {"model": "tiny-segmenter"})
    version = {"model": "tiny-classifier", "family": "tiny-classifier"}
    assert current.is_current("resnest_version_share", {**version, "version": "1.0"})
    assert not current.is_current("resnest_version_share", {**version, "version": "0.9"})
    runtime = {"engine": "openvino", "device": "cpu"}
    assert current.is_current("resnest_model_info", labels_of(card) | runtime)
    assert not current.is_current("resnest_model_info", labels_of(card) | runtime | {"precision": "another"})
    assert current.is_current("resnest_build_info", {"version": "0.9", "host": "a"})


def test_readiness_is_shown_for_the_groups() -> None:
    current = CurrentSeries()
    current.set_groups(["a"])
    assert current.is_current(READINESS, {"model": "a"})
    assert not current.is_current(READINESS, {"model": "a@1.0"})


def test_counters_stay_so_that_their_last_events_are_not_lost() -> None:
    registry = CollectorRegistry()
    Gauge("level", "A level", ["model"], registry=registry).labels("gone").set(1)
    Counter("events", "Events", ["model"], registry=registry).labels("gone").inc()

    text = generate_latest(CurrentMetrics(registry, lambda _metric, _labels: False)).decode()

    assert 'level{model="gone"}' not in text
    assert 'events_total{model="gone"} 1.0' in text
