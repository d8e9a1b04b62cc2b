"""Tests of the measurement of a model in this process."""

from pathlib import Path

import pytest

from service.errors import ImageCorrupt
from service.measure.load import corpus, limit
from service.measure.pipeline import Pipeline
from service.models import cards


@pytest.mark.parametrize("model", ["tiny-classifier", "tiny-segmenter"])
def test_the_limit_is_measured_in_full_batches(store: Path, model: str) -> None:
    pipeline = Pipeline.load(cards.read(store / model), "cpu")
    uploads = [each.content for each in corpus.make([(96, 64), (64, 96)], per_size=2)]
    found = limit.measure(pipeline, uploads, seconds=0.5, warm_up_s=0.1, threads=2, lone=5)
    assert found.model == model
    assert found.images >= found.batch_size == pipeline.card.serving.batch_size
    assert found.images % found.batch_size == 0
    decode, infer, both = found.decode_ms["p50"], found.infer_ms["p50"], found.lone_ms["p50"]
    assert decode is not None and infer is not None and both is not None  # noqa: PT018
    assert 0 < max(decode, infer) < both
    assert 0 < found.images_per_s < 1e5


def test_an_upload_that_is_no_picture_is_told(store: Path) -> None:
    pipeline = Pipeline.load(cards.read(store / "tiny-classifier"), "cpu")
    (whole,) = corpus.make([(96, 64)], per_size=1)
    with pytest.raises(ImageCorrupt):
        limit.measure(pipeline, [whole.content[:300]], seconds=0.1, warm_up_s=0, threads=1, lone=1)
