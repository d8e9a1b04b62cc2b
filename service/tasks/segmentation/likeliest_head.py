"""The class with the highest upsampled logit at each pixel, on a CPU, without upsampling the logits of every class.

A cell is the area between four neighbouring positions of the network's map. The upsampled logit of a pixel in it is a
mean of the logits at the four corners, with weights that are the same for all classes. A class whose highest corner is
below the lowest corner of another class therefore wins nowhere in the cell. The other classes are its candidates. Most
cells of a photo have one to four: one fills the cell, and of several the logits are interpolated.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from service.tasks.torch_head import ImageSize

Upsample = Callable[[Tensor, ImageSize], Tensor]  # bilinear, from (n, classes, h, w) to (n, classes, *size)
Indices = npt.NDArray[np.intp]
Bytes = npt.NDArray[np.uint8]

# Logits whose candidates are found at a time: 2 MiB, and 30 MiB of lists if all of them are candidates.
BAND: Final = 1 << 19
# As a share of the largest logit: the most by which rounding can change the difference of two interpolated logits. An
# interpolation rounds six times, each time by at most 2**-24 of the largest.
ROUNDING: Final = 2.0**-20


class Taps(NamedTuple):
    """The position before each pixel along a side `(pixels,)`, and the weights of it and of the next `(2, pixels)`.

    The last position has no next one, and the weight 0 for it.
    """

    first: Tensor
    weights: Tensor


class Axis(NamedTuple):
    """The pixels along one side of the image, by cell. The map has n positions here and n + 1 cells.

    Cell k is between the positions k - 1 and k, and the first and the last cell are beyond the map's edge. `weights`
    (2, pixels of the largest cell, cells) float32 are those of the two positions. `places` has for each pixel of the
    image its index among the pixels of all cells, if each cell has as many as the largest.
    """

    weights: Tensor
    places: Indices


def likeliest(upsample: Upsample, logits: Tensor, size: ImageSize) -> Tensor:
    """Return the class with the highest logit at each pixel, `size` uint8, from the logits `(classes, h, w)` float32.

    It is the class that `upsample(logits).argmax()` gives, which of equal logits is the lowest. Where the two highest
    differ by less than `ROUNDING` of the largest logit, either can be returned. It has no meaning near logits that are
    not finite.
    """
    rows, columns = (axis(upsample, *lengths) for lengths in zip(logits.shape[1:], size, strict=True))
    margin = float(logits.abs().max()) * ROUNDING
    padded = functional.pad(logits[None], (1, 1, 1, 1), mode="replicate")[0]
    band_rows = max(1, BAND // (len(logits) * padded.shape[2]))
    found = []
    for top in range(0, padded.shape[1] - 1, band_rows):
        band = padded[:, top : top + band_rows + 1].contiguous()
        found.append(_classes(band, rows.weights[:, :, top : top + band_rows], columns.weights, margin))
    return torch.from_numpy(np.concatenate(found).take(rows.places, axis=0).take(columns.places, axis=1))


def axis(upsample: Upsample, length: int, target: int) -> Axis:
    """Return the cells of a side of the image that has `target` pixels, and the map `length` positions."""
    first, weights = (each.numpy() for each in taps(upsample, length, target))
    is_before = (first == 0) & (weights[1] == 0)  # in a cell of their own, which keeps the largest cell small
    cells = first + 1 - is_before
    begins, counts = np.searchsorted(cells, np.arange(length + 1)), np.bincount(cells, minlength=length + 1)
    largest = int(counts.max())
    within = np.minimum(np.arange(largest)[:, None], np.maximum(counts - 1, 0))  # the last pixel fills smaller cells
    members = np.minimum(begins + within, target - 1)
    pairs = np.where(is_before, weights[::-1], weights)[:, members]
    return Axis(torch.from_numpy(pairs), cells * largest + np.arange(target) - begins[cells])


def taps(upsample: Upsample, length: int, target: int, device: torch.device | None = None) -> Taps:
    """Return the positions, of `length`, between which each of `target` pixels along a side is interpolated.

    The weights are upsampled unit vectors, so they are exactly those of `upsample`, whatever its convention.
    """
    weights = upsample(torch.eye(length, device=device)[None, :, :, None], (target, 1))[0, :, :, 0]
    first = (weights > 0).byte().argmax(dim=0)
    following = functional.pad(weights, (0, 0, 0, 1)).gather(0, first[None] + 1)
    return Taps(first, torch.cat([weights.gather(0, first[None]), following]))


def _classes(band: Tensor, row_weights: Tensor, column_weights: Tensor, margin: float) -> Bytes:
    """Return the classes in the cells of padded logits `(classes, rows + 1, columns + 1)`.

    They are in the order of the image: `(rows * pixels, columns * pixels)`, with the pixels of the largest cells.
    """
    classes, rows, columns = band.shape[0], band.shape[1] - 1, band.shape[2] - 1
    cell, class_id = np.divmod(np.flatnonzero(_candidates(band, margin)), classes)
    counts = np.bincount(cell, minlength=rows * columns)
    single = np.zeros(rows * columns, np.uint8)
    single[cell] = class_id
    found = np.empty((row_weights.shape[1], column_weights.shape[1], rows * columns), np.uint8)
    found[:] = single
    contested = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts > 1)]
    if len(contested):
        lists = Candidates(contested, counts[contested], (np.cumsum(counts) - counts)[contested], class_id)
        found[:, :, contested] = _winners(band, lists, row_weights, column_weights)
    height, width = found.shape[:2]
    return found.reshape(height, width, rows, columns).transpose(2, 0, 3, 1).reshape(rows * height, columns * width)


def _candidates(band: Tensor, margin: float) -> npt.NDArray[np.bool_]:
    """Return whether each class is a candidate in each cell, `(cells, classes)`."""
    above, below = band[:, :-1], band[:, 1:]
    highest, lowest = torch.maximum(above, below), torch.minimum(above, below)
    highest = torch.maximum(highest[:, :, :-1], highest[:, :, 1:])
    lowest = torch.minimum(lowest[:, :, :-1], lowest[:, :, 1:])
    return (highest >= lowest.amax(dim=0) - margin).flatten(1).T.contiguous().numpy()


class Candidates(NamedTuple):
    """Cells with several candidates, those with most first.

    Cell `cells[i]` has the candidates `class_ids[starts[i] : starts[i] + counts[i]]`, in ascending order.
    """

    cells: Indices
    counts: Indices
    starts: Indices
    class_ids: Indices


def _winners(band: Tensor, lists: Candidates, row_weights: Tensor, column_weights: Tensor) -> Bytes:
    """Return the class with the highest logit at each pixel, `(pixels down, pixels across, cells)`.

    The first round interpolates the first candidate of each cell, the next one the second of each cell that has one.
    """
    width = band.shape[2]
    row, column = np.divmod(lists.cells, width - 1)
    down, across = row_weights[:, :, row], column_weights[:, :, column]
    values, corners = band.numpy().ravel(), np.array([[0, 1], [width, width + 1]])[:, :, None]
    size = (down.shape[1], across.shape[1], len(row))
    best, winners = np.full(size, -np.inf, np.float32), np.zeros(size, np.uint8)  # the highest logit, and its turn
    for turn in range(lists.counts[0]):
        last = int(np.searchsorted(-lists.counts, -turn))  # cells before it have more than `turn` candidates
        class_id = lists.class_ids[lists.starts[:last] + turn]
        places = class_id * (band.shape[1] * width) + row[:last] * width + column[:last]
        logits = _interpolate(torch.from_numpy(values.take(places + corners)), down[..., :last], across[..., :last])
        # As a product, which numpy vectorises: to copy under a mask takes ten times as long.
        turns = (logits > best[..., :last]).view(np.uint8) * np.uint8(turn)
        np.maximum(turns, winners[..., :last], out=winners[..., :last])
        np.maximum(logits, best[..., :last], out=best[..., :last])
    found: Bytes = lists.class_ids[lists.starts + winners].astype(np.uint8)
    return found


def _interpolate(corners: Tensor, down: Tensor, across: Tensor) -> npt.NDArray[np.float32]:
    """Return the logits `(pixels down, pixels across, cells)` between `corners` (2, 2, cells).

    The order of operations is that of `torch.nn.functional.interpolate` on a CPU. `addcmul` rounds once, as there.
    """
    line = torch.addcmul(corners[:, 1, None] * across[1], corners[:, 0, None], across[0])
    return torch.addcmul(line[1] * down[1][:, None], line[0], down[0][:, None]).numpy()
