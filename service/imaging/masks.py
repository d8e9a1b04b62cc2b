"""What is made of a mask of class ids, uint8 (h, w): its picture, the blend with the photo, figures and run lengths.

A mask of a 50-megapixel photo is as large as the photo, so all but `fit` go through it in bands of rows.
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
Places = npt.NDArray[np.int64]

# The figures of a band of noise take some 85 bytes for each of its pixels.
BAND_PIXELS: Final = 1 << 18

# The id of pixels whose class was not asked for; a model has at most 255 classes, so that it is none's.
VOID: Final = 255

# How an overlay is written. A photo's WebP at this quality is a tenth of its PNG; method 2 takes half the default's
# time for 3 % more bytes.
WRITING: Final[dict[str, dict[str, Any]]] = {
    # Run lengths only: for masks a third of the default's bytes at the same 1 ms per megapixel, and for photos three
    # quarters of them. Levels above 1 take two to four times as long to save a tenth.
    "PNG": {"compress_level": 1, "compress_type": zlib.Z_RLE},
    "WEBP": {"quality": 85, "method": 2},
}


@dataclass(frozen=True)
class Figure:
    """One class in a mask: its pixels, their share of the picture, and its box (x, y, width, height) in pixels."""

    class_id: int
    pixels: int
    share: float
    bbox: tuple[int, int, int, int]
    score: float


def fit(mask: Mask, width: int, height: int) -> Mask:
    """The mask at `width` x `height` pixels, each with the class of the nearest; the same pixels as Pillow's.

    Rows are taken whole: 20 megapixels in 2 ms, where to resize a picture and read it takes 34.
    """
    return mask.take(nearest(mask.shape[1], width), axis=1).take(nearest(mask.shape[0], height), axis=0)


def nearest(of: int, to: int) -> npt.NDArray[np.int32]:
    """Which of so many pixels in a row is the nearest to each of `to`, by Pillow's arithmetic."""
    sources = Image.fromarray(np.arange(of, dtype=np.int32)[None]).resize((to, 1), Image.Resampling.NEAREST)
    places: npt.NDArray[np.int32] = np.asarray(sources)[0]
    return places


def keep(mask: Mask, classes: Collection[int]) -> Mask:
    """The mask with only these classes; its other pixels are `VOID`."""
    kept = np.full(256, VOID, np.uint8)
    kept[list(classes)] = list(classes)
    return kept[mask]


def png(mask: Mask, palette: Sequence[Colour]) -> bytes:
    """An indexed PNG: the pixel is the class id, the palette the classes' colours in order (255 at most).

    `VOID` is black and transparent. The same mask gives the same bytes. Raises `ValueError` for a class id without a
    colour.
    """
    if not _check(mask, palette):
        return _encode(_indexed(mask, palette), "PNG")
    filled = [*palette, *[(0, 0, 0)] * (256 - len(palette))]
    return _encode(_indexed(mask, filled), "PNG", transparency=VOID)


def grey(levels: Mask) -> bytes:
    """A PNG of grey levels."""
    return _encode(Image.fromarray(levels), "PNG")


def overlay(
    picture: Image.Image,
    mask: Mask,
    palette: Sequence[Colour],
    *,
    alpha: float = 0.5,
    clear: Collection[int] = (),
    kind: str = "PNG",
) -> bytes:
    """The picture under the classes' colours, `alpha` of them; the classes in `clear` and `VOID` are left uncoloured.

    The result is a `kind` of `WRITING` and has the picture's size; a mask of another is brought to it. Raises
    `ValueError` as `png` does.
    """
    _check(mask, palette)
    width, height = picture.size
    mask = mask if mask.shape == (height, width) else fit(mask, width, height)
    blended = picture.copy()
    where = np.full(256, 255, np.uint8)
    where[[VOID, *clear]] = 0
    for top, band in bands(mask):
        box = (0, top, width, top + len(band))
        colours = _indexed(band, palette).convert("RGB")
        blended.paste(Image.blend(blended.crop(box), colours, alpha), box, Image.fromarray(where[band]))
    return _encode(blended, kind)


def figures(mask: Mask, scores: Sequence[float] | npt.NDArray[np.floating]) -> list[Figure]:
    """The classes present but `VOID`, most pixels first; `scores` has one per class id."""
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
        Figure(class_id, count, count / mask.size, tuple(box), float(scores[class_id]))
        for class_id, count, box in zip(present.tolist(), pixels[present].tolist(), boxes, strict=True)
    ]
    return sorted(found, key=lambda figure: (-figure.pixels, figure.class_id))


def runs(band: Mask) -> tuple[Mask, Places, Places, Places]:
    """The runs of one class along the rows: class, row, first column, column after the last."""
    height, width = band.shape
    begins = np.ones((height, width), bool)
    np.not_equal(band[:, 1:], band[:, :-1], out=begins[:, 1:])
    at = np.flatnonzero(begins)
    rows, starts = np.divmod(at, width)
    ends = starts + np.diff(at, append=band.size)
    return band.ravel()[at], rows, starts, ends


def bands(mask: Mask) -> Iterator[tuple[int, Mask]]:
    """The mask in bands of whole rows, each with its first row, contiguous, of `BAND_PIXELS` or one row."""
    rows = max(1, BAND_PIXELS // mask.shape[1])
    for top in range(0, mask.shape[0], rows):
        yield top, np.ascontiguousarray(mask[top : top + rows])


def _check(mask: Mask, palette: Sequence[Colour]) -> bool:
    """Whether there are pixels without a class. Raises `ValueError` for a class without a colour."""
    highest = int(mask.max(initial=0))
    has_void = highest == VOID
    if has_void:  # only then: with a condition it takes seven times as long
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
    image.save(out, kind, **WRITING[kind], **options)
    return out.getvalue()
