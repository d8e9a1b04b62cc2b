"""Parallel streams return the outputs of the whole batch, in order."""

import gc
import weakref
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.engines.openvino import engine as openvino_engine
from service.engines.openvino import streams
from service.engines.openvino.compile_cache import CompileCache
from service.models import cards
from service.models.cards import ModelCard
from tests.stores import serving

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def card(store: Path) -> ModelCard:
    return serving(cards.read(store / "tiny-classifier"), precision="fp32")


@pytest.mark.parametrize("images", range(33))
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_stream_gets_as_many_pictures_and_none_is_left_that_could_be_shared(images: int, count: int) -> None:
    cut = streams.parts(images, count)

    assert [place for part in cut for place in range(part.start, part.stop)] == list(range(images // count * count))
    assert len({part.stop - part.start for part in cut}) <= 1
    assert len(cut) % count == 0


@pytest.mark.parametrize(("threads", "batch_size", "count"), [(1, 8, None), (2, 1, None), (2, 8, 2), (9, 2, 2)])
def test_there_are_as_many_as_threads_and_no_more_than_pictures(
    card: ModelCard, tmp_path: Path, threads: int, batch_size: int, count: int | None
) -> None:
    engine = openvino_engine.load(serving(card, threads=threads, batch_size=batch_size), cache=CompileCache(tmp_path))

    assert (engine.streams and engine.streams.count) == count


def test_an_answer_does_not_depend_on_the_part_that_its_picture_is_in(
    card: ModelCard, images: Pixels, tmp_path: Path
) -> None:
    alone, several = (
        openvino_engine.load(serving(card, threads=each), cache=CompileCache(tmp_path)) for each in (1, 2)
    )
    many = np.concatenate([images, 255 - images])

    for count in range(1, len(many) + 1):
        np.testing.assert_allclose(several(many[:count])["scores"], alone(many[:count])["scores"], atol=1e-5)


def test_a_batch_that_fails_leaves_the_next_one_whole(card: ModelCard, images: Pixels, tmp_path: Path) -> None:
    engine = openvino_engine.load(serving(card, threads=2), cache=CompileCache(tmp_path))
    expected = engine(images)["scores"]

    with pytest.raises(RuntimeError):
        engine(np.zeros((4, 64, 64, 5), np.uint8))

    np.testing.assert_array_equal(engine(images)["scores"], expected)


def test_an_engine_that_nobody_holds_is_given_back_with_its_streams(card: ModelCard, tmp_path: Path) -> None:
    engine = openvino_engine.load(serving(card, threads=2), cache=CompileCache(tmp_path))
    assert engine.streams
    streams_of_it = weakref.ref(engine.streams)

    del engine
    gc.collect()

    assert streams_of_it() is None
