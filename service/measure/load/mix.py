"""A mix of images as callers upload them: 0.2 to 12 megapixels, half from web pages and half from phones.

The web half follows JPEGs on web pages. HTTP Archive's crawl of 2024 was counted by codec-compare's wiki ("Bits per
pixel of Internet images"). Of those with 0.2 to 0.8 megapixels, 71 % have at most 0.5. Their median is 1.5 to 2 bits
for a pixel.

In the phone half, most photographs went through a messenger, which reduces them to 1600x1200. The others are as a
camera of 12 megapixels stores them: 2 to 4 MB, with the orientation in Exif. The two halves, and the messenger's share,
are assumptions: no classifier's uploads are published.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from service.imaging import decoder
from service.measure.load import corpus
from service.measure.load.corpus import CorpusError, CorpusImage, Size

PORTRAIT = 6  # the Exif orientation of a phone held upright: rotate by 90 degrees clockwise
ORIENTATION = 0x0112  # Exif tag


@dataclass(frozen=True)
class MixPart:
    """A size in the mix: how many of 20 images have it, its source, the JPEG quality and the Exif orientation."""

    size: Size
    count: int
    source: str
    quality: int
    orientation: int = 1


MIX = (
    MixPart((600, 400), 3, "web", 88),
    MixPart((480, 640), 2, "web", 88),
    MixPart((800, 600), 2, "web", 88),
    MixPart((1024, 683), 2, "web", 88),
    MixPart((1920, 1080), 1, "web", 88),
    MixPart((1600, 1200), 3, "phone", 75),
    MixPart((1200, 1600), 3, "phone", 75),
    MixPart((1536, 2048), 2, "phone", 80),
    MixPart((4032, 3024), 1, "phone", 90),
    MixPart((4032, 3024), 1, "phone", 90, PORTRAIT),
)


def make(photos: Sequence[bytes] = (), seed: int = 0) -> list[CorpusImage]:
    """Return the 20 JPEGs of the mix in a random order. The seed and the photos determine them.

    Each shows one of the photos, enlarged, with fine detail that makes it as expensive as a photograph of its size.
    Without photos all detail is generated.
    """
    random = np.random.default_rng(seed)
    parts = [part for part in MIX for _ in range(part.count)]
    order = random.permutation(len(parts))
    chosen = random.permutation(len(photos)) if photos else None
    made = []
    for index in order:
        photo = None if chosen is None else photos[chosen[index % len(photos)]]
        made.append(_image(parts[index], int(index), photo, random))
    return made


def read_photos(folder: Path) -> list[bytes]:
    """Return the images in a folder, at most one for each image of the mix, spread over the whole folder."""
    count = sum(part.count for part in MIX)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [path for path in paths if decoder.sniff(_start(path)) is not None]
    if not found:
        raise CorpusError(f"{folder} contains no images")
    return [found[len(found) * place // count].read_bytes() for place in range(min(count, len(found)))]


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _image(part: MixPart, index: int, photo: bytes | None, random: np.random.Generator) -> CorpusImage:
    base = None
    if photo is not None:
        with Image.open(io.BytesIO(photo)) as opened:
            base = opened.convert("RGB")
    pixels = corpus.draw(part.size, random, base)
    exif = Image.Exif()
    if part.orientation != 1:
        exif[ORIENTATION] = part.orientation
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=part.quality, exif=exif)
    width, height = part.size
    return CorpusImage(f"{part.source}-{width}x{height}-{index}.jpg", "image/jpeg", encoded.getvalue())
