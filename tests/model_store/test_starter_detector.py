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
SAMPLING = 0.15  # by which the figure of few photos may be lower
needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason="the starter photos are not here")


def scores_of(which: slice) -> DetectionScores:
    """Return the scores of the served detector on some of the test photos that have a mask."""
    card = cards.read(STORE / "starter-detector")
    subject = subjects.of_card(card, Pipeline.load(card, "cpu"))
    images = [each for each in datasets.read(PHOTOS, "index").images if each.mask][which]
    found = runs.scores(subject, runs.outcomes(subject, images, subject.open()))
    assert isinstance(found, DetectionScores)
    return found


def test_the_file_is_small_enough_for_the_repository() -> None:
    assert cards.read(STORE / "starter-detector").weights_path.stat().st_size <= MAX_BYTES


@needs_photos
def test_the_pet_of_a_photo_is_found_with_its_label() -> None:
    found = scores_of(slice(None, None, 16))

    assert found.images >= 10
    assert found.boxes.ap50 is not None
    assert found.boxes.ap50 >= TARGETS["box_ap50"] - SAMPLING


@pytest.mark.stress
@pytest.mark.timeout(1800)
@needs_photos
def test_the_served_detector_is_as_precise_as_its_card_and_the_targets_say() -> None:
    measured = cards.read(STORE / "starter-detector").measured

    found = scores_of(slice(None))

    assert found.masks
    assert found.images == measured["images"]
    for name, figure in (("box_ap", found.boxes.ap), ("box_ap50", found.boxes.ap50), ("mask_ap", found.masks.ap)):
        assert figure is not None
        assert figure == pytest.approx(measured[name], abs=ROUNDING), name
        assert figure >= TARGETS[name] - ROUNDING, name
