"""Whether an engine answers as PyTorch does in single precision, on pictures as varied as one photograph gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from service.engines import Arrays

EXAMPLE = Path(__file__).parents[2] / "model_store" / "example.jpg"
EQUAL = 0.995  # of the pictures' likeliest labels, and of the masks' pixels
# Mean absolute difference of scores. The seven or three classes of the starter models have larger scores, and so
# larger differences, than the thousand of the published ones.
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-3, "fp16": 5e-3}


@dataclass(frozen=True)
class Agreement:
    """Of how many pictures, what share of labels or of masks' pixels is equal, and how far scores are apart."""

    pictures: int
    equal: float
    difference: float

    def holds(self, precision: str) -> bool:
        """Whether that is near enough."""
        return self.equal >= EQUAL and self.difference <= TOLERANCE[precision]


def compare(ours: Sequence[Arrays], theirs: Sequence[Arrays]) -> Agreement:
    """Arrays of the same pictures, one batch after another."""
    equal, apart, pictures = [], [], 0
    for mine, other in zip(ours, theirs, strict=True):
        mask = "mask" in other
        scores = "class_scores" if mask else "scores"
        labels = [each["mask"] if mask else each["scores"].argmax(axis=1) for each in (mine, other)]
        equal.append((labels[0] == labels[1]).ravel())
        apart.append(np.abs(mine[scores] - other[scores]).ravel())
        pictures += len(other[scores])
    return Agreement(pictures, float(np.concatenate(equal).mean()), float(np.concatenate(apart).mean()))


def parts(count: int, example: Path = EXAMPLE) -> Iterator[Image.Image]:
    """Parts of a photograph, turned and darkened, of many sizes."""
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
