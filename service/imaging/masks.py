"""Renders a mask of class ids, uint8 (h, w): as a PNG, as an overlay on an image, and as segments and runs.

A mask of a 50-megapixel photo is as large as the photo, so every function except `resize` works in bands of rows.
"""

import io
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Mask = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Indices = npt.NDArray[np.int64]

# To find the segments of a band of noise takes about 85 bytes of memory for each of its pixels.
BAND_PIXELS: Final = 1 << 18

# The id of pixels whose class was not requested. A model has at most 255 classes, so no class has this id.
VOID: Final = 255

# A photo's WebP at this quality has a tenth of the bytes of its PNG. Method 2 takes half the default's time for 3 %
# more bytes.
ENCODER_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # Run lengths only: a third of the default's bytes for masks and three quarters for photos, at the same 1 ms per
    # megapixel. Levels above 1 take two to four times as long to save a tenth.
    "PNG": {"compress_level": 1, "compress_type": zlib.Z_RLE},
    "WEBP": {"quality": 85, "method": 2},
}


@dataclass(frozen=True)
class MaskSegment:
    """The pixels of one class in a mask: their number, their share, and their box (x, y, width, height) in pixels."""

    class_id: int
    pixels: int
    share: float
    bbox: tuple[int, int, int, int]
    score: float


def resize(mask: Mask, width: int, height: int) -> Mask:
    """Resize the mask to `width` x `height` pixels, nearest neighbour, with the same result as Pillow.

    Whole rows are copied: 20 megapixels take 2 ms. To resize with Pillow and read the result takes 34 ms.
    """
    return mask.take(nearest_indices(mask.shape[1], width), axis=1).take(nearest_indices(mask.shape[0], height), axis=0)


def nearest_indices(source: int, target: int) -> npt.NDArray[np.int32]:
    """Return the nearest of `source` pixels in a row for each of `target` pixels, by Pillow's arithmetic."""
    sources = Image.fromarray(np.arange(source, dtype=np.int32)[None]).resize((target, 1), Image.Resampling.NEAREST)
    indices: npt.NDArray[np.int32] = np.asarray(sources)[0]
    return indices


def select_classes(mask: Mask, classes: Collection[int]) -> Mask:
    """Return the mask with only these classes; its other pixels are `VOID`."""
    table = np.full(256, VOID, np.uint8)
    table[list(classes)] = list(classes)
    return table[mask]


def png(mask: Mask, palette: Sequence[Colour]) -> bytes:
    """Return an indexed PNG: a pixel is its class id, the palette the classes' colours in order (at most 255).

    `VOID` is black and transparent. The same mask gives the same bytes. Raises `ValueError` for a class id without a
    colour.
    """
    if not _check(mask, palette):
        return _encode(_indexed(mask, palette), "PNG")
    filled = [*palette, *[(0, 0, 0)] * (256 - len(palette))]
    return _encode(_indexed(mask, filled), "PNG", transparency=VOID)


def grey(levels: Mask) -> bytes:
    """Return a greyscale PNG."""
    return _encode(Image.fromarray(levels), "PNG")


def overlay(
    image: Image.Image,
    mask: Mask,
    palette: Sequence[Colour],
    *,
    alpha: float = 0.5,
    clear: Collection[int] = (),
    kind: str = "PNG",
) -> bytes:
    """Return the image blended with the classes' colours, as a file of a `kind` of `ENCODER_OPTIONS`.

    `alpha` is the share of the colours. The classes in `clear` and `VOID` are left uncoloured. A mask of another size
    is resized to the image. Raises `ValueError` as `png` does.
    """
    _check(mask, palette)
    width, height = image.size
    mask = mask if mask.shape == (height, width) else resize(mask, width, height)
    blended = image.copy()
    where = np.full(256, 255, np.uint8)
    where[[VOID, *clear]] = 0
    for top, band in bands(mask):
        box = (0, top, width, top + len(band))
        colours = _indexed(band, palette).convert("RGB")
        blended.paste(Image.blend(blended.crop(box), colours, alpha), box, Image.fromarray(where[band]))
    return _encode(blended, kind)


def segments(mask: Mask, scores: Sequence[float] | npt.NDArray[np.floating]) -> list[MaskSegment]:
    """Return the segments of the classes in the mask except `VOID`, largest first; `scores` has one per class id."""
    pixels = np.zeros(256, np.int64)
    first = np.full((2, 256), max(mask.shape), np.int64)
    last = np.zeros((2, 256), np.int64)
    for top, band in bands(mask):
        classes, rows, starts, ends = runs(band)
        pixels += np.bincount(classes, ends - starts, 256).astype(np.int64)
        for axis, (begin, end) in enumerate(((starts, ends), (rows + top, rows + top + 1))):
            np.minimum.at(first[axis], classes, begin)
            np.maximum.at(last[axis], classes, end)
    present = np.flatnonzero(pixels[:VOID])
    boxes = np.concatenate([first, last - first])[:, present].T.tolist()
    found = [
        MaskSegment(class_id, count, count / mask.size, tuple(box), float(scores[class_id]))
        for class_id, count, box in zip(present.tolist(), pixels[present].tolist(), boxes, strict=True)
    ]
    return sorted(found, key=lambda segment: (-segment.pixels, segment.class_id))


def runs(band: Mask) -> tuple[Mask, Indices, Indices, Indices]:
    """Return the runs of one class along the rows: class, row, first column, column after the last."""
    height, width = band.shape
    begins = np.ones((height, width), bool)
    np.not_equal(band[:, 1:], band[:, :-1], out=begins[:, 1:])
    at = np.flatnonzero(begins)
    rows, starts = np.divmod(at, width)
    ends = starts + np.diff(at, append=band.size)
    return band.ravel()[at], rows, starts, ends


def bands(mask: Mask) -> Iterator[tuple[int, Mask]]:
    """Yield contiguous bands of whole rows, each with its first row. A band has `BAND_PIXELS` at most, or one row."""
    rows = max(1, BAND_PIXELS // mask.shape[1])
    for top in range(0, mask.shape[0], rows):
        yield top, np.ascontiguousarray(mask[top : top + rows])


def _check(mask: Mask, palette: Sequence[Colour]) -> bool:
    """Return whether there are `VOID` pixels. Raises `ValueError` for a class without a colour."""
    highest = int(mask.max(initial=0))
    has_void = highest == VOID
    if has_void:  # only then, because a maximum with a condition takes seven times as long
        highest = int(mask.max(initial=0, where=mask != VOID))
    if highest >= len(palette):
        raise ValueError(f"class {highest} has no colour among {len(palette)}")
    return has_void


def _indexed(mask: Mask, palette: Sequence[Colour]) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette([level for colour in palette for level in colour])
    return image


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **ENCODER_OPTIONS[kind], **options)
    return out.getvalue()
