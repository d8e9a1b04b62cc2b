"""The images to send: read from a folder, or generated so that they cost a decoder as much as photographs."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from service.imaging import decoder
from service.tasks.base import Pixels

Size = tuple[int, int]

# The usual JPEG quality of cameras and editors. With the octaves below, 335x500 has 50 kB and 4032x3024 has 3 MB.
QUALITY = 90
OCTAVES = (2, 4, 8, 16, 32, 64, 128, 256)
CONTRAST_RATIO = 0.62  # of an octave to the one below it: in photographs, power falls with frequency
IMAGES_PER_SIZE = 4


class CorpusError(ValueError):
    """There are no images to send. The message is one sentence for the user."""


@dataclass(frozen=True)
class CorpusImage:
    """An image to send: its name, its media type and its bytes."""

    name: str
    media_type: str
    content: bytes


def make(sizes: Sequence[Size], per_size: int = IMAGES_PER_SIZE, seed: int = 0) -> list[CorpusImage]:
    """Return `per_size` JPEGs of each size (width, height), the sizes interleaved. The seed determines the content."""
    random = np.random.default_rng(seed)
    variants = [(width, height, index) for index in range(per_size) for width, height in sizes]
    return [
        CorpusImage(f"{width}x{height}-{index}.jpg", "image/jpeg", _jpeg((width, height), random))
        for width, height, index in variants
    ]


def read(folder: Path) -> list[CorpusImage]:
    """Return the images in a folder and its subfolders, sorted by path. Raises `CorpusError` if there are none."""
    found = list(_images(folder))
    if not found:
        raise CorpusError(f"{folder} contains no images")
    return found


def _images(folder: Path) -> Iterator[CorpusImage]:
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        kind = decoder.sniff(content)
        if kind is not None:
            yield CorpusImage(path.name, f"image/{kind.lower()}", content)


def _jpeg(size: Size, random: np.random.Generator) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(draw(size, random)).save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def draw(size: Size, random: np.random.Generator, base: Image.Image | None = None) -> Pixels:
    """Return summed octaves of noise, each octave with less contrast than the one before.

    With a `base`, enlarged to the size, only the octaves that are finer than its pixels are added.
    """
    image = np.zeros((size[1], size[0], 3), np.float32)
    for octave, cells in enumerate(OCTAVES):
        if cells > max(size):
            break
        if base is not None and cells < min(base.size):
            continue
        noise = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
        image += (np.asarray(layer, np.float32) - 128) * CONTRAST_RATIO**octave
    grain = random.integers(-6, 7, image.shape[:2], dtype=np.int8)[:, :, None]
    below: Any = 128 if base is None else np.asarray(base.resize(size, Image.Resampling.BICUBIC), np.float32)
    pixels: Pixels = (image * 0.6 + grain + below).clip(0, 255).astype(np.uint8)
    return pixels
