"""Tests of the batches that decode processes prepare ahead."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from service.errors import ImageCorrupt
from service.imaging.decoder import ImageLimits
from service.measure.limit import batch_feed
from service.measure.limit.batch_feed import AHEAD, BatchFeed, FeedSource
from service.measure.load import corpus
from service.measure.pipeline import Pipeline
from service.models import cards
from service.tasks.base import Pixels

WAIT_S = 30.0
SIZE = 3
ENGINES = 2


def test_a_batch_has_images_of_one_shape_and_every_upload_comes_equally_often() -> None:
    wide, tall = (2, 4, 3), (4, 2, 3)
    planned = list(islice(batch_feed.plan([wide, tall, wide], 2), 6))
    assert planned[:3] == [(wide, [0, 2]), (tall, [1, 1]), (wide, [0, 2])]
    counts = [sum(batch.uploads.count(upload) for batch in planned) for upload in range(3)]
    assert counts == [4, 4, 4]


@pytest.fixture(scope="module")
def prepared_uploads(store: Path) -> tuple[FeedSource, list[Pixels]]:
    pipeline = Pipeline.load(cards.read(store / "tiny-segmenter"), "cpu")
    uploads = [each.content for each in corpus.make([(96, 64), (64, 96)], per_size=2)]
    pixels = [pipeline.prepare(upload).pixels for upload in uploads]
    return FeedSource(uploads, ImageLimits(), pipeline.spec), pixels


@pytest.fixture(scope="module")
def feed(prepared_uploads: tuple[FeedSource, list[Pixels]]) -> Iterator[BatchFeed]:
    source, pixels = prepared_uploads
    feed = BatchFeed(source, [each.shape for each in pixels], SIZE, processes=1, engines=ENGINES)
    yield feed
    feed.close()


def test_the_pixels_are_those_of_the_pipeline(
    feed: BatchFeed, prepared_uploads: tuple[FeedSource, list[Pixels]]
) -> None:
    _, pixels = prepared_uploads
    planned = batch_feed.plan([each.shape for each in pixels], SIZE)
    for expected in islice(planned, 2 * (AHEAD + ENGINES)):  # every place in the memory is used twice
        with feed.batch() as batch:
            np.testing.assert_array_equal(batch, np.stack([pixels[index] for index in expected.uploads]))


def test_all_other_batches_become_ready_while_an_engine_has_one(feed: BatchFeed) -> None:
    with feed.batch(), feed.batch():
        end = time.monotonic() + WAIT_S
        while feed.ready < AHEAD:
            assert time.monotonic() < end, "the processes decode only between batches"
            time.sleep(0.01)


def test_the_next_batches_are_ready_before_the_first_one_is_taken(feed: BatchFeed) -> None:
    feed.wait_until_full()
    assert feed.ready == AHEAD + ENGINES


def test_an_image_that_cannot_be_decoded_ends_the_measurement(
    prepared_uploads: tuple[FeedSource, list[Pixels]],
) -> None:
    source, pixels = prepared_uploads
    broken = FeedSource([source.uploads[0][:200]], source.limits, source.spec)
    feed = BatchFeed(broken, [pixels[0].shape], SIZE, processes=1, engines=1)
    try:
        with pytest.raises(ImageCorrupt):
            feed.wait_until_full()
    finally:
        feed.close()
