"""Tests of the comparison of the two resizers."""

from pathlib import Path

import click
import pytest
from PIL import Image

from benchmarks.costs import resize
from service.imaging import resizers
from service.measure.pipeline import Pipeline
from service.models import cards
from service.models.inputs import Input
from tests.engines.numerics import EXAMPLE


@pytest.mark.parametrize("model", ["tiny-classifier", "tiny-segmenter"])
def test_results_with_both_resizers_are_compared(store: Path, model: str) -> None:
    (found,) = resize.differences(Pipeline.load(cards.read(store / model), "cpu"), [EXAMPLE.read_bytes()])
    assert 0 < found.levels.max() <= 2
    assert found.equal.all() or model == "tiny-segmenter"
    assert resize.summary([found]).startswith("1 images, ")


def test_without_cykooz_resizer_there_is_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizers, "library", lambda: None)
    with pytest.raises(click.ClickException, match="cykooz-resizer is not installed"):
        resize.both(Input(profile="official", size=224))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_timed_image_has_its_size_and_format(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "timed"
    path.write_bytes(resize.timed_image(EXAMPLE, (90, 120), kind))
    with Image.open(path) as opened:
        assert (opened.size, opened.format) == ((90, 120), kind)
