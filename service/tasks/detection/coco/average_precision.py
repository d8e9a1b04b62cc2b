"""Average precision as COCO defines it (arXiv 1405.0312; cocodataset.org/#detection-eval), over many images.

A detection is correct if it overlaps an instance of its class enough, and no better detection has taken that instance.
Crowds, and instances outside the range of areas, count neither for nor against a model.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)  # of the overlap
RECALLS: Final = np.linspace(0, 1, 101)  # at which precision is read
MOST: Final = (1, 10, 100)  # detections of an image and class that count
AREAS: Final[Mapping[str, tuple[float, float]]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}  # in pixels, both ends included
_RANGES: Final = np.array(list(AREAS.values()))


@dataclass(frozen=True)
class ClassOverlaps:
    """The detections and the instances of one class in one image.

    `overlaps` are `(d, g)`: intersection over union or, for a crowd, over the detection's area. `scores` and `areas`
    are those of the d detections, `true_areas` and `crowd` those of the g instances.
    """

    overlaps: Floats
    scores: Floats
    areas: Floats
    true_areas: Floats
    crowd: Flags


@dataclass(frozen=True)
class AveragePrecision:
    """The figures of COCO, each a share of 1, or None where no instance counts.

    `ap` is the mean over ten overlaps from 0.5 to 0.95 and over the classes. `by_area` has it for small (to 32 x 32
    pixels), medium (to 96 x 96) and large instances. `by_class` has it by class id. `recall` is the mean highest recall
    with at most 1, 10 and 100 detections of an image and class. `curves` has the precision at each of `RECALLS` for an
    overlap of 0.5, of 0.75, and the mean of all ten.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    by_area: dict[str, float | None]
    by_class: dict[int, float]
    recall: dict[int, float | None]
    curves: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class _Matches:
    """The detections of a class, best first in each image: (areas, thresholds, d) flags, their scores and ranks."""

    correct: Flags
    ignored: Flags
    scores: Floats
    ranks: npt.NDArray[np.int64]
    counted: npt.NDArray[np.int64]


def average_precision(found: Mapping[int, Sequence[ClassOverlaps]]) -> AveragePrecision:
    """Return the figures of the images of each class id."""
    precision: dict[int, Floats] = {}  # (areas, thresholds, recalls), NaN where no instance counts
    recall: dict[int, Floats] = {}  # (most, thresholds)
    for class_id, images in found.items():
        matches = _joined([_match(image) for image in images])
        precision[class_id] = _precision(matches)
        recall[class_id] = _recall(matches)
    levels = np.stack(list(precision.values())) if precision else np.full((1, len(AREAS), 10, 101), np.nan)
    recalls = np.stack(list(recall.values())) if recall else np.full((1, len(MOST), 10), np.nan)
    everything = levels[:, 0]
    shown = {"0.5": everything[:, 0], "0.75": everything[:, 5], "0.5 to 0.95": everything.mean(axis=1)}
    known = ~np.isnan(everything[:, 0, 0])
    return AveragePrecision(
        ap=_mean(everything),
        ap50=_mean(everything[:, 0]),
        ap75=_mean(everything[:, 5]),
        by_area={name: _mean(levels[:, index]) for index, name in enumerate(AREAS) if index},
        by_class={each: float(rows[0].mean()) for each, rows in precision.items() if not np.isnan(rows[0]).any()},
        recall={most: _mean(recalls[:, index]) for index, most in enumerate(MOST)},
        curves={name: tuple(rows[known].mean(axis=0).tolist()) for name, rows in shown.items()} if known.any() else {},
    )


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _match(image: ClassOverlaps) -> _Matches:
    """Give each detection, best first, the instance that it overlaps most and that is not taken.

    An instance that counts goes before one that is ignored. A crowd is never taken.
    """
    order = np.argsort(-image.scores, kind="stable")[: MOST[-1]]
    overlaps, areas, scores = image.overlaps[order], image.areas[order], image.scores[order]
    outside = _outside(image.true_areas)
    out_of_count = outside | image.crowd  # (areas, g)
    taken = np.zeros((len(_RANGES), len(THRESHOLDS), len(image.true_areas)), bool)
    correct = np.zeros((len(_RANGES), len(THRESHOLDS), len(order)), bool)
    ignored = np.zeros_like(correct)
    for index, row in enumerate(overlaps):
        if not (row >= THRESHOLDS[0]).any():
            continue
        near = (row >= THRESHOLDS[:, None])[None] & ~(taken & ~image.crowd)
        counting = near & ~out_of_count[:, None]
        candidates = np.where(counting.any(axis=2, keepdims=True), counting, near)
        # Of equal overlaps the last one is taken, as in the reference code.
        chosen = len(row) - 1 - np.where(candidates, row, -1.0)[:, :, ::-1].argmax(axis=2)
        hit = candidates.any(axis=2)
        correct[:, :, index] = hit
        ignored[:, :, index] = hit & np.take_along_axis(out_of_count, chosen, axis=1)
        area, threshold = np.nonzero(hit)
        taken[area, threshold, chosen[hit]] = True
    ignored |= ~correct & _outside(areas)[:, None]
    return _Matches(correct, ignored, scores, np.arange(len(order)), (~out_of_count).sum(axis=1))


def _outside(areas: Floats) -> Flags:
    """Return `(areas, n)` flags: whether each area is outside each range."""
    return (areas < _RANGES[:, :1]) | (areas > _RANGES[:, 1:])


def _joined(images: Iterable[_Matches]) -> _Matches:
    """Return the detections of all images together, best first, and the number of instances that count."""
    images = list(images)
    scores = np.concatenate([each.scores for each in images])
    order = np.argsort(-scores, kind="stable")
    return _Matches(
        np.concatenate([each.correct for each in images], axis=2)[:, :, order],
        np.concatenate([each.ignored for each in images], axis=2)[:, :, order],
        scores[order],
        np.concatenate([each.ranks for each in images])[order],
        np.sum([each.counted for each in images], axis=0),
    )


def _precision(found: _Matches) -> Floats:
    """Return the precision (areas, thresholds, recalls): the highest one at that recall or a higher one."""
    right = np.cumsum(found.correct & ~found.ignored, axis=2).astype(np.float64)
    wrong = np.cumsum(~found.correct & ~found.ignored, axis=2).astype(np.float64)
    precision = right / (right + wrong + np.spacing(1))
    highest = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
    out = np.full((*right.shape[:2], len(RECALLS)), np.nan)
    for area, counted in enumerate(found.counted):
        if not counted:
            continue
        for threshold in range(len(THRESHOLDS)):
            first = np.searchsorted(right[area, threshold] / counted, RECALLS, side="left")
            padded = np.append(highest[area, threshold], 0.0)
            out[area, threshold] = padded[np.minimum(first, len(padded) - 1)]
    return out


def _recall(found: _Matches) -> Floats:
    """Return the share of the instances of any area that at most 1, 10 or 100 detections of an image find."""
    if not found.counted[0]:
        return np.full((len(MOST), len(THRESHOLDS)), np.nan)
    right = found.correct[0] & ~found.ignored[0]
    return np.stack([right[:, found.ranks < most].sum(axis=1) / found.counted[0] for most in MOST])
