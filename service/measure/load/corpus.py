"""The pictures that are sent: a folder's, or made ones that cost a decoder what photographs do."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from service.imaging import decoder

Size = tuple[int, int]

# JPEG's usual quality in cameras and editors; with the octaves below, 335x500 has 50 kB and 4032x3024 3 MB.
QUALITY = 90
OCTAVES = (2, 4, 8, 16, 32, 64, 128, 256)
FALL = 0.62  # an octave's contrast to that of the one below, as in photographs: power falls with frequency
OF_EACH_SIZE = 4


class CorpusError(ValueError):
    """No pictures to send; the message is one sentence for who measures."""


@dataclass(frozen=True)
class Picture:
    """An upload: its name, its media type and its bytes."""

    name: str
    media_type: str
    content: bytes


def make(sizes: Sequence[Size], of_each: int = OF_EACH_SIZE, seed: int = 0) -> list[Picture]:
    """JPEGs of these sizes (width, height), the same for the same seed; the sizes take turns."""
    draw = np.random.default_rng(seed)
    places = [(width, height, place) for place in range(of_each) for width, height in sizes]
    return [
        Picture(f"{width}x{height}-{place}.jpg", "image/jpeg", _jpeg((width, height), draw))
        for width, height, place in places
    ]


def read(folder: Path) -> list[Picture]:
    """The pictures in a folder and its folders, in the order of their names. Raises `CorpusError` for none."""
    found = list(_pictures(folder))
    if not found:
        raise CorpusError(f"{folder} holds no picture")
    return found


def _pictures(folder: Path) -> Iterator[Picture]:
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        kind = decoder.sniff(content)
        if kind is not None:
            yield Picture(path.name, f"image/{kind.lower()}", content)


def _jpeg(size: Size, draw: np.random.Generator) -> bytes:
    """Octaves of noise, each with less contrast, over one another."""
    picture = np.zeros((size[1], size[0], 3), np.float32)
    for octave, cells in enumerate(OCTAVES):
        if cells > max(size):
            break
        noise = draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
        picture += (np.asarray(layer, np.float32) - 128) * FALL**octave
    grain = draw.integers(-6, 7, picture.shape[:2], dtype=np.int8)[:, :, None]
    pixels = (picture * 0.6 + grain + 128).clip(0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()
