"""Tests of the images that the load generator sends."""

from pathlib import Path

import pytest

from service.imaging import decoder
from service.imaging.decoder import ImageLimits
from service.measure.load import corpus
from service.measure.load.corpus import CorpusError

ORDINARY = (335, 500)


def test_made_pictures_have_their_sizes_in_turn() -> None:
    made = corpus.make([ORDINARY, (64, 48)], per_size=2)
    decoded = [decoder.decode(each.content, ImageLimits()) for each in made]
    assert [(each.width, each.height) for each in decoded] == [ORDINARY, (64, 48)] * 2
    assert {each.media_type for each in made} == {"image/jpeg"}


def test_made_pictures_cost_what_photographs_cost() -> None:
    """Images of ImageNet have 110 kB at 500x375. A flat area has less than 20 kB, and noise more than 200 kB."""
    (made,) = corpus.make([ORDINARY], per_size=1)
    assert 20_000 < len(made.content) < 200_000


def test_made_pictures_differ_and_are_the_same_again_for_the_same_seed() -> None:
    made = corpus.make([(64, 48)], per_size=3, seed=5)
    assert len({each.content for each in made}) == 3
    assert made == corpus.make([(64, 48)], per_size=3, seed=5)
    assert made != corpus.make([(64, 48)], per_size=3, seed=6)


def test_a_folders_pictures_are_read_in_order_and_other_files_left(tmp_path: Path) -> None:
    first, second = corpus.make([(64, 48)], per_size=2)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.bin").write_bytes(second.content)
    (tmp_path / "a.jpg").write_bytes(first.content)
    (tmp_path / "labels.txt").write_text("not an image", encoding="utf-8")
    found = corpus.read(tmp_path)
    assert [(each.name, each.media_type) for each in found] == [("a.jpg", "image/jpeg"), ("b.bin", "image/jpeg")]
    assert [each.content for each in found] == [first.content, second.content]


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"{tmp_path} contains no images"):
        corpus.read(tmp_path)
