"""The built-in detector: its size, and its average precision on the real test photos."""

from pathlib import Path

import pytest

from service.measure.accuracy import datasets, runs, subjects
from service.measure.pipeline import Pipeline
from service.models import cards
from service.tasks.detection.scoring import DetectionScores

STORE = Path(__file__).parents[2] / "model_store"
PHOTOS = STORE.parents[1] / "shared" / "data" / "starter-photos"
# The targets of decision 0060.
TARGETS = {"box_ap": 0.50, "box_ap50": 0.85, "mask_ap": 0.45}
MAX_BYTES = 25_000_000
ROUNDING = 0.01  # in which engines and precisions may differ


def test_the_file_is_small_enough_for_the_repository() -> None:
    assert cards.read(STORE / "starter-detector").weights_path.stat().st_size <= MAX_BYTES


@pytest.mark.parametrize("name", TARGETS)
def test_other_weights_are_at_least_as_precise(name: str) -> None:
    assert cards.read(STORE / "starter-detector").measured[name] >= TARGETS[name]


@pytest.mark.stress
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the starter photos are not here")
def test_the_served_detector_is_as_precise_as_its_card_says() -> None:
    card = cards.read(STORE / "starter-detector")
    subject = subjects.of_card(card, Pipeline.load(card, "cpu"))
    images = [each for each in datasets.read(PHOTOS, "index").images if each.mask]

    found = runs.scores(subject, runs.outcomes(subject, images, subject.open()))

    assert isinstance(found, DetectionScores)
    assert found.masks
    assert found.images == card.measured["images"]
    for name, figure in (("box_ap", found.boxes.ap), ("box_ap50", found.boxes.ap50), ("mask_ap", found.masks.ap)):
        assert figure == pytest.approx(card.measured[name], abs=ROUNDING), name
