"""The times of a detector's graphs."""

from pathlib import Path

from benchmarks.costs import detector_parts
from service.models import cards

STORE = Path(__file__).parents[3] / "model_store"


def test_every_graph_is_timed_with_every_number_of_its_inputs() -> None:
    card = cards.read(STORE / "starter-detector")
    works = dict(detector_parts.jobs(card, (64, 96)))
    assert list(works) == [
        "trunk 64x96",
        *(f"box_head_0 {count}" for count in detector_parts.PROPOSALS),
        *(f"mask_head_0 {count}" for count in detector_parts.BOXES),
    ]
    shapes = [tuple(work()[0].shape) for work in works.values()]
    assert shapes[1:] == [(1000, 3), (300, 3), (100, 3), (100, 2, 28, 28), (10, 2, 28, 28)]
