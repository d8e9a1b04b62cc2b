"""Compare the outputs of an engine with those of PyTorch in float32, on varied parts of one photograph."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from service.measure.accuracy.agreement import agreement
from service.tasks.scoring_base import Scoring
from service.tasks.torch_head import BatchArrays

EXAMPLE = Path(__file__).parents[2] / "model_store" / "example.jpg"
EQUAL = 0.995  # minimum share of equal top-1 labels, and of equal mask pixels
# Maximum of the mean absolute difference of scores. The 7 and 3 classes of the starter models have larger scores than
# the 1000 classes of published models, and so larger differences.
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-3, "fp16": 5e-3}


@dataclass(frozen=True)
class Agreement:
    """The number of images, the share of equal labels or mask pixels, and the mean difference of scores."""

    images: int
    equal: float
    difference: float

    def holds(self, precision: str) -> bool:
        """Return whether the agreement is sufficient for the precision."""
        return self.equal >= EQUAL and self.difference <= TOLERANCE[precision]


def compare(ours: Sequence[BatchArrays], theirs: Sequence[BatchArrays], scoring: Scoring[Any, Any]) -> Agreement:
    """Return the agreement of two sequences of batches of the same images, by the scoring of the models' task."""
    found = agreement(zip(ours, theirs, strict=True), scoring.compare)
    return Agreement(found.images, found.same, found.difference)


def parts(count: int, example: Path = EXAMPLE) -> Iterator[Image.Image]:
    """Yield parts of a photograph, rotated and darkened, of many sizes."""
    with Image.open(example) as opened:
        whole = opened.convert("RGB")
    random = np.random.default_rng(0)
    for _ in range(count):
        side = int(random.integers(60, min(whole.size)))
        left, top = (int(random.integers(0, length - side + 1)) for length in whole.size)
        part = whole.crop((left, top, left + side, top + int(side * random.uniform(0.6, 1)))).rotate(
            90 * int(random.integers(4)), expand=True
        )
        yield part.point((np.arange(256) * random.uniform(0.3, 1)).astype(np.uint8).tolist() * 3)
