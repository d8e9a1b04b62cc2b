"""Draws a heat map over an image: the lowest values leave it unchanged, the highest ones are the brightest."""

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.imaging.masks import ENCODER_OPTIONS

Map = npt.NDArray[np.floating]
Box = tuple[int, int, int, int]

MAX_OPACITY: Final = 0.7  # of the colour where the map is highest
UNSEEN_BRIGHTNESS: Final = 0.35  # of the parts that the network does not see, as a share of their own


def levels(values: Map) -> npt.NDArray[np.uint8]:
    """Scale the map from its lowest value, 0, to its highest, 255. A map with one value becomes 0."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return ((values.astype(np.float64) - low) / (high - low) * 255).round().astype(np.uint8)


def overlay(image: Image.Image, values: Map, window: Box, kind: str = "PNG") -> bytes:
    """Return the image with the map over it, resized to `window`, as a file of a `kind` of `masks.ENCODER_OPTIONS`.

    The colours go from black through red and yellow to white. The image outside the window is darkened.
    """
    left, top, right, bottom = window
    spread = Image.fromarray(levels(values)).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    blended = image.point([round(level * UNSEEN_BRIGHTNESS) for level in range(256)] * 3)
    seen = image.crop(window)
    strength = spread.point([round(level * MAX_OPACITY) for level in range(256)])
    seen.paste(_coloured(spread), None, strength)
    blended.paste(seen, (left, top))
    out = io.BytesIO()
    blended.save(out, kind, **ENCODER_OPTIONS[kind])
    return out.getvalue()


def _coloured(levels_: Image.Image) -> Image.Image:
    image = levels_.copy()
    image.putpalette([min(255, max(0, 3 * level - 255 * channel)) for level in range(256) for channel in range(3)])
    return image.convert("RGB")
