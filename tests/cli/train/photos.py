"""Folders of made photos, one for each label, which a network can tell apart by colour."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"brick": (170, 60, 40), "grass": (50, 160, 60), "sea": (40, 70, 190), "sand": (220, 200, 120)}


def made(colour: tuple[int, int, int], seed: int, side: int = 80) -> Image.Image:
    """Return a blurred random image around a colour; two seeds differ."""
    random = np.random.default_rng(seed)
    coarse = random.integers(-70, 71, (10, 10, 3)) + np.array(colour)
    return Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def write(folder: Path, counts: Mapping[str, int]) -> Path:
    """Write so many photos of each label, and return the folder."""
    for label, count in counts.items():
        own = folder / label
        own.mkdir(parents=True)
        for number in range(count):
            made(COLOURS[label.casefold()], 1000 * sorted(COLOURS).index(label.casefold()) + number).save(
                own / f"{number:03}.png"
            )
    return folder
