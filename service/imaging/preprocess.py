"""A picture to the pixels that a network takes, by its card's input profile. The arithmetic is the authors' own."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.models.inputs import Input

FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# Beyond this many pixels `timm` computes only the part of the resized picture that is kept: 64 MB in Pillow's RGB.
MAX_RESIZED_PIXELS = 16_000_000


def needed_side(spec: Input) -> int:
    """The short side in pixels below which `prepare` would enlarge the picture."""
    return NEEDED[spec.profile](spec)


def prepare(spec: Input, image: Image.Image) -> npt.NDArray[np.uint8]:
    """The network's input, shape (H, W, 3), from an upright RGB picture of any size and shape."""
    return np.asarray(PREPARE[spec.profile](spec, image))


def window(spec: Input, width: int, height: int) -> tuple[int, int, int, int]:
    """What the network sees of a picture of these sides: left, top, right, bottom in pixels, to the nearest."""
    return WINDOWS[spec.profile](spec, width, height)


def _official_window(spec: Input, width: int, height: int) -> tuple[int, int, int, int]:
    """ECenterCrop of the authors' scripts/torch/verify.py; Pillow rounds the crop's far edges."""
    side = spec.size / (spec.size + 32) * min(width, height)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return left, top, max(left + 1, round(left + side)), max(top + 1, round(top + side))


def _timm_window(spec: Input, width: int, height: int) -> tuple[int, int, int, int]:
    side = spec.size * min(width, height) / needed_side(spec)
    left, top = (width - side) / 2, (height - side) / 2
    return round(left), round(top), max(round(left) + 1, round(left + side)), max(round(top) + 1, round(top + side))


def _official(spec: Input, image: Image.Image) -> Image.Image:
    crop = image.crop(_official_window(spec, *image.size))
    return crop.resize((spec.size, spec.size), FILTERS[spec.interpolation])


def _timm(spec: Input, image: Image.Image) -> Image.Image:
    """torchvision's Resize of the short side, then its CenterCrop."""
    short = needed_side(spec)
    scale = min(image.size)
    width, height = (int(short * side / scale) for side in image.size)
    left, top = round((width - spec.size) / 2), round((height - spec.size) / 2)
    window = (left, top, left + spec.size, top + spec.size)
    if width * height <= MAX_RESIZED_PIXELS:
        return image.resize((width, height), FILTERS[spec.interpolation]).crop(window)
    # The same filter over the same pixels, but Pillow keeps a box as 32-bit floats and may take rows before columns,
    # with a rounding between them: two levels off at most, as measured.
    across, down = image.width / width, image.height / height
    box = (window[0] * across, window[1] * down, window[2] * across, window[3] * down)
    return image.resize((spec.size, spec.size), FILTERS[spec.interpolation], box=box)


def _segmentation(spec: Input, image: Image.Image) -> Image.Image:
    """The long side to `size`, or the short one to `short`; MultiEvalModule's rounding, then that of the multiple."""
    bound, target = max(image.size), spec.size
    if spec.short is not None and spec.short * bound < target * min(image.size):
        bound, target = min(image.size), spec.short
    sides = (target if side == bound else int(side * target / bound + 0.5) for side in image.size)
    width, height = (max(1, int(side / spec.multiple + 0.5)) * spec.multiple for side in sides)
    return image.resize((width, height), FILTERS[spec.interpolation])


def _whole(spec: Input, image: Image.Image) -> Image.Image:
    long = max(image.size)
    if long <= spec.size:
        return image
    width, height = (spec.size if side == long else max(1, int(side * spec.size / long + 0.5)) for side in image.size)
    return image.resize((width, height), FILTERS[spec.interpolation])


PREPARE: Final[dict[str, Callable[[Input, Image.Image], Image.Image]]] = {
    "official": _official,
    "timm": _timm,
    "segmentation": _segmentation,
    "whole": _whole,
}

NEEDED: Final[dict[str, Callable[[Input], int]]] = {
    "official": lambda spec: spec.size + 32,
    "timm": lambda spec: int(spec.size / spec.crop_ratio),
    "segmentation": lambda spec: min(spec.size, spec.short or spec.size),
    "whole": lambda spec: spec.size,
}

WINDOWS: Final[dict[str, Callable[[Input, int, int], tuple[int, int, int, int]]]] = {
    "official": _official_window,
    "timm": _timm_window,
    "segmentation": lambda _spec, width, height: (0, 0, width, height),
    "whole": lambda _spec, width, height: (0, 0, width, height),
}
