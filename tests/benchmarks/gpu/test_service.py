"""Tests of the bottleneck of a service, and of the store for its measurement."""

from pathlib import Path

import pytest

from benchmarks.gpu import service
from service.measure.load.summary import Window, summarise
from service.measure.load.trial import Load, Trial
from service.measure.load.usage import Usage
from service.models import cards, zoo
from tests.stores import write_store


def trial(*processes: Usage, stages: dict[str, float] | None = None) -> Trial:
    summary = summarise([], Window(0, 1))
    summary.stages_ms.update({name: {"p50": each} for name, each in (stages or {}).items()})
    return Trial(Load("closed", 16), summary, list(processes))


def used(command: str, cores: float) -> Usage:
    return Usage(7, command, cores, 100.0)


@pytest.mark.parametrize(
    ("found", "share", "words"),
    [
        (trial(used("gateway", 8)), 0.95, "The GPU: the service reaches 95% of the engine's rate."),
        (
            trial(used("gateway", 5), used("decoder", 2.5)),
            0.5,
            "The host's 8 cores: the service uses 7.5, gateway",
        ),
        (
            trial(used("gateway", 0.97), used("java", 0.3)),
            0.5,
            "One thread: gateway (process 7) uses 0.97 of a core.",
        ),
        (
            trial(used("java", 3), stages={"queue": 9.0, "decode": 2.0}),
            0.5,
            "Waiting, mostly in the stage queue (9.0 ms",
        ),
        (trial(), 0.5, "Unknown: the service reports no stages."),
    ],
)
def test_what_holds_the_service_back_is_told_by_cores_and_stages(found: Trial, share: float, words: str) -> None:
    assert service.bottleneck(found, share, cores=8).startswith(words)


def test_the_store_has_the_one_model_with_another_table_serving(tmp_path: Path) -> None:
    source = write_store(tmp_path / "source", weights=False)
    (source / "example.jpg").write_bytes(b"")
    store = service.store(source, tmp_path / "target", "tiny-classifier", batch_size=64, workers=2)
    (card,) = zoo.read_zoo(store).values()
    original = cards.read(source / "tiny-classifier")
    assert (card.serving.batch_size, card.serving.workers) == (64, 2)
    assert card.serving.max_batch_delay_ms == original.serving.max_batch_delay_ms
    assert card.input == original.input
