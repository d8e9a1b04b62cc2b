"""The figures that say how well a model does: shares of right labels, calibration, and masks pixel by pixel."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IGNORED = 255  # in a mask: a pixel that belongs to no class
BEST = 5  # labels that a picture's own may be among, for top-5
BINS = 15  # of confidence, as in Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599)
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassifiedImage:
    """What a classifier said of a picture: the likeliest classes, best first, and the probability of the first."""

    picture: str
    true: int
    best: tuple[int, ...]
    confidence: float


@dataclass(frozen=True)
class SegmentedImage:
    """What a segmenter saw: how many pixels of class `true[i]` it gave the class `found[i]`."""

    picture: str
    true: tuple[int, ...]
    found: tuple[int, ...]
    pixels: tuple[int, ...]


@dataclass(frozen=True)
class RejectedImage:
    """A picture that the service refuses, and the code of the error it would answer."""

    picture: str
    code: str


@dataclass(frozen=True)
class LabelScore:
    """How well one label is told: its pictures, the share of them found, and the share of its finds that are right."""

    pictures: int
    recall: float
    precision: float

    @property
    def f1(self) -> float:
        """The harmonic mean of the two, 0 where both are."""
        both = self.recall + self.precision
        return 2 * self.recall * self.precision / both if both else 0.0


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence is in `[low, high)`: how many, their mean confidence, the share that is right."""

    low: float
    high: float
    pictures: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Classification:
    """Scores of a classifier; `confusion[true][predicted]` is in the order of `labels`, which all differ."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    top5: float
    bins: tuple[Bin, ...]

    @property
    def pictures(self) -> int:
        """How many were counted."""
        return sum(map(sum, self.confusion))

    @property
    def top1(self) -> float:
        """The share of the pictures whose likeliest label is theirs."""
        return sum(row[place] for place, row in enumerate(self.confusion)) / self.pictures

    @property
    def recall(self) -> dict[str, float]:
        """The share found of each label's pictures, for the labels that have any."""
        return {label: row.recall for label, row in self.labels_told.items() if row.pictures}

    @property
    def labels_told(self) -> dict[str, LabelScore]:
        """The labels one by one, those that some picture has or was given."""
        rows = [sum(row) for row in self.confusion]
        columns = [sum(column) for column in zip(*self.confusion, strict=True)]
        right = [row[place] for place, row in enumerate(self.confusion)]
        return {
            label: LabelScore(row, hit / row if row else 0.0, hit / column if column else 0.0)
            for label, row, column, hit in zip(self.labels, rows, columns, right, strict=True)
            if row or column
        }

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: the mean distance of confidence and accuracy over the bins, by pictures."""
        return sum(each.pictures * abs(each.confidence - each.accuracy) for each in self.bins) / self.pictures


@dataclass(frozen=True)
class Segmentation:
    """Scores of a segmentation model over all pixels that belong to a class, at the pictures' own sizes.

    `iou` is intersection over union of each class that occurs; `foreground_iou` takes every class but the first,
    the background, as one. `confusion[true][found]` counts pixels in the order of `labels`.
    """

    pictures: int
    labels: tuple[str, ...]
    iou: dict[str, float]
    foreground_iou: float
    pixel_accuracy: float
    confusion: tuple[tuple[int, ...], ...]

    @property
    def mean_iou(self) -> float:
        """The mean over the classes."""
        return sum(self.iou.values()) / len(self.iou)


Scores = Classification | Segmentation


def classified(labels: Sequence[str], guesses: Iterable[ClassifiedImage]) -> Classification:
    """The scores of a classifier's answers, of which there must be at least one."""
    guesses = list(guesses)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, ([guess.true for guess in guesses], [guess.best[0] for guess in guesses]), 1)
    top5 = sum(guess.true in guess.best[:BEST] for guess in guesses) / len(guesses)
    return Classification(distinct(labels), _rows(confusion), top5, tuple(_bins(guesses)))


def segmented(labels: Sequence[str], seen: Iterable[SegmentedImage]) -> Segmentation:
    """The scores of a segmenter's answers."""
    confusion, pictures = np.zeros((len(labels), len(labels)), np.int64), 0
    for each in seen:
        np.add.at(confusion, (list(each.true), list(each.found)), each.pixels)
        pictures += 1
    return scored(confusion, labels, pictures)


def scored(confusion: Counts, labels: Sequence[str], pictures: int) -> Segmentation:
    """The scores of pixel counts `(true, found)` over so many pictures; `labels` are the classes in their order."""
    labels = distinct(labels)
    iou = {label: score for label, score in zip(labels, _iou(confusion), strict=True) if not np.isnan(score)}
    accuracy = float(np.trace(confusion) / confusion.sum())
    foreground = _iou(_foreground(confusion))[1]
    return Segmentation(pictures, labels, iou, foreground, accuracy, _rows(confusion))


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels; where several classes have one, as ImageNet's two cranes, each has its class id behind it."""
    times = Counter(labels)
    return tuple(label if times[label] == 1 else f"{label} #{place}" for place, label in enumerate(labels))


def pixel_counts(true: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8], classes: int) -> Counts:
    """Pixel counts `(true, found)` of two masks of one shape, without the pixels that are `IGNORED` in the true one."""
    counted = true != IGNORED
    pairs = true[counted].astype(np.int64) * classes + found[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _bins(guesses: Sequence[ClassifiedImage]) -> Iterable[Bin]:
    confidence = np.array([guess.confidence for guess in guesses])
    right = np.array([guess.true == guess.best[0] for guess in guesses])
    edges = np.linspace(0, 1, BINS + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, BINS - 1)
    for place in range(BINS):
        inside = places == place
        pictures = int(inside.sum())
        means = (float(values[inside].mean()) if pictures else 0.0 for values in (confidence, right))
        yield Bin(float(edges[place]), float(edges[place + 1]), pictures, *means)


def _rows(counts: Counts) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in counts.tolist())


def _foreground(confusion: Counts) -> Counts:
    edges = [0, 1]
    return np.add.reduceat(np.add.reduceat(confusion, edges, axis=0), edges, axis=1)


def _iou(confusion: Counts) -> Sequence[float]:
    """Intersection over union of each class, NaN for one that neither side has."""
    both = np.diag(confusion).astype(np.float64)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    scores: list[float] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0).tolist()
    return scores
