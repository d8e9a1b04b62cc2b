"""Encodes a mask of class ids as COCO run lengths, a compressed string for each class, and reads such strings.

One pass encodes all classes. pycocotools itself needs a binary mask for each class, and takes one second a class for an
image of 50 megapixels.
"""

import numpy as np
import numpy.typing as npt

from service.imaging.masks import VOID, Indices, Mask, bands, runs


def encode(mask: Mask) -> dict[int, str]:
    """Return the `counts` of each class in the mask except `VOID`, by class id. Their `size` is the mask's shape.

    Runs go down the columns, and the first one is outside the class (pycocotools, common/maskApi.c).
    """
    classes, begins, ends = _by_class(mask)
    at = np.searchsorted(classes, np.arange(257))
    return {
        class_id: _string(_counts(begins[at[class_id] : at[class_id + 1]], ends[at[class_id] : at[class_id + 1]], size))
        for class_id, size in ((int(each), mask.size) for each in np.unique(classes))
        if class_id != VOID
    }


def encode_columns(columns: Indices, begins: Indices, ends: Indices, size: tuple[int, int]) -> str:
    """Return the `counts` of a mask of `size` (height, width) from its runs down the columns, from left to right.

    A run has its column, its first pixel, and the pixel after its last.
    """
    height, width = size
    if not len(columns):
        return _string(np.array([height * width]))
    above = columns * height
    return _string(_counts(above + begins, above + ends, height * width))


def _by_class(mask: Mask) -> tuple[Mask, Indices, Indices]:
    """Return the runs down the columns, sorted by class and position: class, first pixel, pixel after the last."""
    height = mask.shape[0]
    found, begins, ends = [], [], []
    for left, band in bands(mask.T):
        classes, columns, first, last = runs(band)
        above = (columns + left) * height
        found.append(classes)
        begins.append(first + above)
        ends.append(last + above)
    every = np.concatenate(found)
    order = np.argsort(every, kind="stable")
    return every[order], np.concatenate(begins)[order], np.concatenate(ends)[order]


def _counts(begins: Indices, ends: Indices, size: int) -> Indices:
    """Return lengths alternately outside and inside the class. Runs that continue in the next column are joined."""
    apart = begins[1:] != ends[:-1]
    begins, ends = begins[np.r_[True, apart]], ends[np.r_[apart, True]]
    edges = np.stack([begins, ends], axis=1).ravel()
    counts = np.diff(edges, prepend=0)
    return counts if ends[-1] == size else np.append(counts, size - ends[-1])


def _string(counts: Indices) -> str:
    """Encode five bits a character, lowest first. From the fourth on, each count is less the one two before it."""
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    written = []
    more = np.ones(len(rest), bool)
    while more.any():
        low = rest & 0x1F
        rest >>= 5
        goes_on = more & np.where(low & 0x10, rest != -1, rest != 0)
        written.append(np.where(more, low + 48 + 32 * goes_on, 0).astype(np.uint8))
        more = goes_on
    characters = np.stack(written, axis=1).ravel()
    return str(characters[characters != 0].tobytes(), "ascii")


def lengths(counts: str) -> Indices:
    """Return the lengths of the runs of a compressed string. Raises `ValueError` for one that `encode` never writes."""
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if len(codes) == 0 or (codes < 0).any() or (codes > 63).any() or codes[-1] & 0x20:
        raise ValueError("these are no compressed run lengths")
    begins = np.flatnonzero(np.r_[True, (codes[:-1] & 0x20) == 0])
    places = np.arange(len(codes)) - np.repeat(begins, np.diff(begins, append=len(codes)))
    values = np.add.reduceat((codes & 0x1F) << (5 * places), begins)
    last = np.append(begins[1:], len(codes)) - 1
    values -= np.where(codes[last] & 0x10, np.int64(1) << (5 * (places[last] + 1)), 0)
    for index in range(3, len(values)):
        values[index] += values[index - 2]
    return values


def draw(runs_of_mask: Indices, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the mask `(height, width)` of run lengths. Raises `ValueError` if they are not those of such a mask."""
    if (runs_of_mask < 0).any() or runs_of_mask.sum() != height * width:
        raise ValueError(f"the run lengths are not those of a mask of {width} x {height}")
    inside = np.arange(len(runs_of_mask)) % 2 == 1
    return np.repeat(inside, runs_of_mask).reshape(width, height).T
