"""Find photos that show the same: resized, compressed again, or mirrored. They must not be on both sides of a split."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE: Final = 16
BITS: Final = 2 * SIDE * SIDE
# Of the bits. On 2,029 photos of flowers and pets, 9 pairs that show the same differ in 8 to 68 bits, and all others in
# at least 110. Of 300 photos compressed to quality 40, half as large, mirrored or brighter, 2 differ in more than 90.
MAX_DIFFERENT: Final = 90
BLOCK: Final = 1024  # rows that are compared with all at a time

Pixels = npt.NDArray[np.uint8]
Fingerprints = npt.NDArray[np.bool_]  # (n, 2, BITS): of the image, and of its mirror image


def fingerprint(pixels: Pixels) -> Fingerprints:
    """Return a fingerprint `(2, BITS)` of a network's input `(h, w, 3)`, and that of its mirror image.

    Each bit says whether the grey level rises to the next cell of a coarse grid, to the right or down (dHash).
    """
    return np.stack([_gradients(pixels), _gradients(pixels[:, ::-1])])


def _gradients(pixels: Pixels) -> npt.NDArray[np.bool_]:
    grey = Image.fromarray(np.ascontiguousarray(pixels)).convert("L")
    cells = np.asarray(grey.resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX), np.int16)
    right = cells[:SIDE, 1:] > cells[:SIDE, :-1]
    down = cells[1:, :SIDE] > cells[:-1, :SIDE]
    return np.concatenate([right.reshape(-1), down.reshape(-1)])


def groups(prints: Fingerprints) -> npt.NDArray[np.int64]:
    """Return the number of each image's group `(n,)`. Near copies, also by way of others, are in one group."""
    count = len(prints)
    numbers = np.arange(count)
    signs = prints.astype(np.float32) * 2 - 1
    for start in range(0, count, BLOCK):
        for side in (0, 1):
            same = signs[start : start + BLOCK, side] @ signs[:, 0].T  # (block, n): BITS minus twice the differences
            for one, row in enumerate(same >= BITS - 2 * MAX_DIFFERENT, start):
                _join(numbers, one, row)
    return numbers


@dataclass(frozen=True)
class Merged:
    """The number of photos that are near copies of another one, and the indices of two as an example."""

    photos: int
    example: tuple[int, int]


def merged(prints: Fingerprints, found: npt.NDArray[np.int64], labels: Sequence[str]) -> dict[str, Merged]:
    """Return, for each label that has near copies, how many of its photos are only another one of a group.

    `found` are the groups `(n,)` of the photos. The example are the two of the largest group that differ least.
    """
    members: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (label, group) in enumerate(zip(labels, found.tolist(), strict=True)):
        members[label][group].append(index)
    several = {label: [each for each in members[label].values() if len(each) > 1] for label in sorted(members)}
    return {
        label: Merged(sum(len(each) - 1 for each in sets), closest(prints, max(sets, key=len)))
        for label, sets in several.items()
        if sets
    }


def across(found: npt.NDArray[np.int64], labels: Sequence[str]) -> Merged | None:
    """Return the photos in groups with several labels, and two of one group that have different labels."""
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(found.tolist()):
        members[group].append(index)
    mixed = [each for each in members.values() if len({labels[index] for index in each}) > 1]
    if not mixed:
        return None
    first = mixed[0][0]
    other = next(index for index in mixed[0] if labels[index] != labels[first])
    return Merged(sum(map(len, mixed)), (first, other))


def closest(prints: Fingerprints, indices: Sequence[int]) -> tuple[int, int]:
    """Return the two of the first `BLOCK` of these images that differ least, one of them mirrored if need be."""
    indices = indices[:BLOCK]
    signs = prints[indices].astype(np.float32) * 2 - 1
    same = np.maximum(signs[:, 0] @ signs[:, 0].T, signs[:, 1] @ signs[:, 0].T)
    np.fill_diagonal(same, -np.inf)
    first, second = divmod(int(same.argmax()), len(indices))
    return min(indices[first], indices[second]), max(indices[first], indices[second])


def _join(numbers: npt.NDArray[np.int64], one: int, others: npt.NDArray[np.bool_]) -> None:
    """Give the least of their numbers to the groups of the image `one` and of the `others` `(n,)`, all at once.

    Frames of a fixed camera are copies of each other: 10,000 have 10^8 pairs, and only 9,999 of them join groups.
    """
    found = np.append(numbers[others], numbers[one])
    least = found.min()
    if (found == least).all():
        return
    joined = np.zeros(len(numbers), np.bool_)
    joined[found] = True
    numbers[joined[numbers]] = least
