"""A map of numbers over a picture, from what matters least, left as it is, to what matters most."""

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.imaging.masks import WRITING

Map = npt.NDArray[np.floating]
Box = tuple[int, int, int, int]

STRONGEST: Final = 0.7  # the share of colour where the map is highest
UNSEEN: Final = 0.35  # the brightness of what the network does not see


def levels(values: Map) -> npt.NDArray[np.uint8]:
    """The map from its lowest number, 0, to its highest, 255; a map of one number is 0."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return ((values.astype(np.float64) - low) / (high - low) * 255).round().astype(np.uint8)


def overlay(picture: Image.Image, values: Map, window: Box, kind: str = "PNG") -> bytes:
    """The picture as a `kind` of `masks.WRITING` under the map, which is spread smoothly over the `window`.

    The colours go from black by red and yellow to white; what is outside the window is darkened.
    """
    left, top, right, bottom = window
    spread = Image.fromarray(levels(values)).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    blended = picture.point([round(level * UNSEEN) for level in range(256)] * 3)
    seen = picture.crop(window)
    strength = spread.point([round(level * STRONGEST) for level in range(256)])
    seen.paste(_coloured(spread), None, strength)
    blended.paste(seen, (left, top))
    out = io.BytesIO()
    blended.save(out, kind, **WRITING[kind])
    return out.getvalue()


def _coloured(levels_: Image.Image) -> Image.Image:
    image = levels_.copy()
    image.putpalette([min(255, max(0, 3 * level - 255 * place)) for level in range(256) for place in range(3)])
    return image.convert("RGB")
