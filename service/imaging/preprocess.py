"""Preprocesses an image to a network's input, by its card's input profile, with the authors' own arithmetic."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.imaging.resizers import resize, uses_simd
from service.models.inputs import Input

# Above this many pixels, `timm` with Pillow computes only the crop of the resized image. They are 64 MB in its RGB.
MAX_RESIZED_PIXELS = 16_000_000

CHANNELS: Final = 3

Pixels = npt.NDArray[np.uint8]


def needed_side(spec: Input) -> int:
    """Return the short side in pixels below which `prepare` would enlarge the image."""
    return NEEDED[spec.profile](spec)


def prepare(spec: Input, image: Image.Image, out: Pixels | None = None) -> Pixels:
    """Return the network's input, shape (H, W, 3), from an upright RGB image of any size.

    `out` is an array of one axis, at least `largest_bytes` long. The input is then written to its beginning, and the
    result is a view of it. Raises `ValueError` if `out` is too short.
    """
    pixels = np.asarray(PREPARE[spec.profile](spec, image))
    if out is None:
        return pixels
    if out.size < pixels.size:
        raise ValueError(f"the output has {out.size} bytes and needs {pixels.size}")
    written = out[: pixels.size].reshape(pixels.shape)
    written[...] = pixels
    return written


def largest_bytes(spec: Input) -> int:
    """Return the bytes of the largest input that `prepare` makes."""
    long, short = spec.largest
    return long * short * CHANNELS


def window(spec: Input, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of a `width` x `height` image that the network sees: left, top, right, bottom in whole pixels."""
    return WINDOWS[spec.profile](spec, width, height)


def _official_window(spec: Input, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the crop of ECenterCrop in the authors' scripts/torch/verify.py. Pillow rounds its right and bottom."""
    side = spec.size / (spec.size + 32) * min(width, height)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return left, top, max(left + 1, round(left + side)), max(top + 1, round(top + side))


def _timm_window(spec: Input, width: int, height: int) -> tuple[int, int, int, int]:
    side = spec.size * min(width, height) / needed_side(spec)
    left, top = (width - side) / 2, (height - side) / 2
    return round(left), round(top), max(round(left) + 1, round(left + side)), max(round(top) + 1, round(top + side))


def _official(spec: Input, image: Image.Image) -> Image.Image:
    crop = image.crop(_official_window(spec, *image.size))
    return resize(spec, crop, (spec.size, spec.size))


def _timm(spec: Input, image: Image.Image) -> Image.Image:
    """Apply torchvision's Resize of the short side, then its CenterCrop."""
    short = needed_side(spec)
    scale = min(image.size)
    width, height = (int(short * side / scale) for side in image.size)
    left, top = round((width - spec.size) / 2), round((height - spec.size) / 2)
    window = (left, top, left + spec.size, top + spec.size)
    if width * height <= MAX_RESIZED_PIXELS and not uses_simd(spec):
        return resize(spec, image, (width, height)).crop(window)
    # The same filter over the same pixels. But Pillow stores a box as 32-bit floats and may resize rows before columns,
    # with rounding between them. Measured: a difference of at most two levels.
    across, down = image.width / width, image.height / height
    box = (window[0] * across, window[1] * down, window[2] * across, window[3] * down)
    return resize(spec, image, (spec.size, spec.size), box)


def _proportional(spec: Input, image: Image.Image) -> Image.Image:
    """Resize the long side to `size`, or the short one to `short`; round as MultiEvalModule, then to the multiple."""
    bound, target = max(image.size), spec.size
    if spec.short is not None and spec.short * bound < target * min(image.size):
        bound, target = min(image.size), spec.short
    sides = (target if side == bound else int(side * target / bound + 0.5) for side in image.size)
    width, height = (max(1, int(side / spec.multiple + 0.5)) * spec.multiple for side in sides)
    return resize(spec, image, (width, height))


def _whole(spec: Input, image: Image.Image) -> Image.Image:
    long = max(image.size)
    if long <= spec.size:
        return image
    width, height = (spec.size if side == long else max(1, int(side * spec.size / long + 0.5)) for side in image.size)
    return resize(spec, image, (width, height))


PREPARE: Final[dict[str, Callable[[Input, Image.Image], Image.Image]]] = {
    "official": _official,
    "timm": _timm,
    "proportional": _proportional,
    "whole": _whole,
}

NEEDED: Final[dict[str, Callable[[Input], int]]] = {
    "official": lambda spec: spec.size + 32,
    "timm": lambda spec: int(spec.size / spec.crop_ratio),
    "proportional": lambda spec: min(spec.size, spec.short or spec.size),
    "whole": lambda spec: spec.size,
}

WINDOWS: Final[dict[str, Callable[[Input, int, int], tuple[int, int, int, int]]]] = {
    "official": _official_window,
    "timm": _timm_window,
    "proportional": lambda _spec, width, height: (0, 0, width, height),
    "whole": lambda _spec, width, height: (0, 0, width, height),
}
