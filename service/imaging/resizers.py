"""Resizes images with the filters of Pillow: by Pillow itself, or by the SIMD code of cykooz-resizer.

Both have the same filters, triangle and Catmull-Rom, stretched when an image shrinks. They filter rows and columns in
turn, and round to 8 bits between them. Coefficients have 22 bits in Pillow and at most 15 in cykooz-resizer, so a few
bytes of a thousand differ by one level. `benchmarks.costs.resize` measures that and the time.
"""

import importlib
import importlib.util
import math
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.models.inputs import Input

PACKAGE: Final = "cykooz_resizer"

Box = tuple[float, float, float, float]

PILLOW_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SIMD_FILTERS: Final = {"bilinear": "bilinear", "bicubic": "catmull_rom"}  # of cykooz_resizer.FilterType
OPENCV_LINEAR: Final = "opencv_linear"
# The bits of a pixel's weight in OpenCV's INTER_LINEAR of bytes.
WEIGHT_BITS: Final = 11

# The values of the output that are computed at a time. It takes about 25 MB of memory.
BAND_VALUES: Final = 1 << 19
LARGEST_SUPPORT: Final = 2  # pixels at each side that the bicubic filter reads when an image is not shrunk


@cache
def library() -> ModuleType | None:
    """Return cykooz-resizer, or None if it is not installed. It has wheels for x86-64 with glibc, macOS and Windows."""
    return importlib.import_module(PACKAGE) if importlib.util.find_spec(PACKAGE) else None


def uses_simd(spec: Input) -> bool:
    """Return whether images for the input are resized by cykooz-resizer: the card allows it, and it is installed."""
    return spec.resizer == "simd" and spec.interpolation != OPENCV_LINEAR and library() is not None


def name(spec: Input) -> str:
    """Return the name and version of the library that resizes for the input, for reports."""
    if spec.interpolation == OPENCV_LINEAR:
        return f"numpy {metadata.version('numpy')}"
    package = "cykooz-resizer" if uses_simd(spec) else "pillow"
    return f"{package} {metadata.version(package)}"


def resize(spec: Input, image: Image.Image, size: tuple[int, int], box: Box | None = None) -> Image.Image:
    """Return the RGB `image`, or its `box`, at `size`: width and height. `box` is left, top, right, bottom in pixels.

    Around a box, the filter reads the image's own pixels. Pillow rounds the box to 32-bit floats.
    """
    if spec.interpolation == OPENCV_LINEAR:
        return Image.fromarray(opencv_linear(np.asarray(image), size))
    simd = library()
    if spec.resizer == "pillow" or simd is None:
        return image.resize(size, PILLOW_FILTERS[spec.interpolation], box=box)
    algorithm = simd.ResizeAlg.convolution(simd.FilterType[SIMD_FILTERS[spec.interpolation]])
    box = box or (0, 0, *image.size)
    if columns_first(image.size, size, box):
        return _filtered(simd, image, size, box, algorithm)
    left, top, right, bottom = box
    # Only the rows that the columns' filter reads.
    margin = LARGEST_SUPPORT * math.ceil(max(1, (bottom - top) / size[1])) + 1
    first, end = max(0, math.floor(top) - margin), min(image.height, math.ceil(bottom) + margin)
    rows = _filtered(simd, image, (size[0], end - first), (left, first, right, end), algorithm)
    return _filtered(simd, rows, size, (0, top - first, size[0], bottom - first), algorithm)


def columns_first(image: tuple[int, int], size: tuple[int, int], box: Box) -> bool:
    """Return whether Pillow 13 filters columns before rows. Earlier versions never do.

    With an image of the same proportions, that is so if it shrinks and is more than twice as high as wide. The rule was
    found by trying; a test compares it with the Pillow that is installed.
    """
    left, top, right, bottom = box
    width, height = round(image[0] * size[0] / (right - left)), round(image[1] * size[1] / (bottom - top))
    return height < image[1] and image[1] - height > 2 * (image[0] - width)


def _filtered(simd: Any, image: Image.Image, size: tuple[int, int], box: Box, algorithm: Any) -> Image.Image:
    """Return the box at `size`. cykooz-resizer filters columns before rows if both change."""
    left, top, right, bottom = box
    resized = Image.new("RGB", size)
    # A rounding error may lead outside of the image, which is an error there.
    crop_box = simd.CropBox(left, top, min(right, image.width) - left, min(bottom, image.height) - top)
    # A resizer keeps its buffers, and a lock for them. A new one for each image costs at most 0.04 ms at 1280x960.
    simd.Resizer().resize_pil(image, resized, simd.ResizeOptions(algorithm, crop_box=crop_box))
    return resized


def opencv_linear(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the pixels `(h, w, 3)` at `size` (width and height), by the arithmetic of OpenCV's INTER_LINEAR.

    A pixel is between the four nearest ones, with weights of `WEIGHT_BITS`. Intermediate values lose four bits, and the
    result is rounded (modules/imgproc/src/resize.cpp). OpenCV 5.0 gives the same bytes when an image shrinks, and one
    level more or less in 0.1 % of the bytes when it grows.
    """
    (left, right, across), (above, below, down) = (
        _linear_taps(*sides) for sides in zip(pixels.shape[1::-1], size, strict=True)
    )
    out = np.empty((size[1], size[0], pixels.shape[2]), np.uint8)
    step = max(1, BAND_VALUES // (size[0] * pixels.shape[2]))
    for top in range(0, size[1], step):
        band = slice(top, top + step)
        total = np.full((), 2, np.int32)
        for rows, weights in ((above[band], down[0, band]), (below[band], down[1, band])):
            line = pixels[rows].astype(np.int32)
            mixed = line[:, left] * across[0][:, None] + line[:, right] * across[1][:, None]
            total = total + (((mixed >> 4) * weights[:, None, None]) >> 16)
        out[band] = total >> 2
    return out


def _linear_taps(
    source: int, target: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return for each of `target` pixels along a side the pixels before and after it, and their weights `(2, target)`.

    Positions are rounded to float32, as in OpenCV.
    """
    position = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    before = np.floor(position).astype(np.int64)
    fraction = position - before.astype(np.float32)
    fraction[(before < 0) | (before >= source - 1)] = 0
    before = before.clip(0, source - 1)
    weights = np.rint(np.stack([1 - fraction, fraction]) * np.float32(1 << WEIGHT_BITS)).astype(np.int32)
    return before, np.minimum(before + 1, source - 1), weights
