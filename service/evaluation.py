"""How well a model does on labelled pictures, counted through the same code that serves them."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.cards import CardError, ModelCard
from service.pipeline import Answer, Pipeline

IGNORED = 255  # in a mask: a pixel that belongs to no class
Counts = npt.NDArray[np.int64]
Run = Callable[..., list[Answer]]


@dataclass(frozen=True)
class Photo:
    """A picture file and what is known of it: its label, or its mask, an indexed or grey picture of class ids."""

    picture: Path
    label: str = ""
    mask: Path | None = None


@dataclass(frozen=True)
class Classification:
    """Counts of a classification model; `confusion[true][predicted]` in the order of the card's labels."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]

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
        rows = zip(self.labels, self.confusion, strict=True)
        return {label: row[place] / sum(row) for place, (label, row) in enumerate(rows) if sum(row)}


@dataclass(frozen=True)
class Segmentation:
    """Scores of a segmentation model over all pixels that belong to a class, at the pictures' own sizes.

    `iou` is intersection over union of each class that occurs; `foreground_iou` takes every class but the first,
    the background, as one.
    """

    pictures: int
    iou: dict[str, float]
    foreground_iou: float
    pixel_accuracy: float

    @property
    def mean_iou(self) -> float:
        """The mean over the classes."""
        return sum(self.iou.values()) / len(self.iou)


def classification(card: ModelCard, photos: Iterable[Photo], run: Run | None = None) -> Classification:
    """Count right and wrong labels. Raises `CardError` for a label that the card has not, or no photos at all."""
    labels = tuple(label.label for label in card.classes)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    for photo, answer in _answers(card, photos, run):
        if photo.label not in labels:
            raise CardError(f"{photo.picture} has the label {photo.label!r}, and {card.name} knows {', '.join(labels)}")
        confusion[labels.index(photo.label), int(answer.scores.argmax())] += 1
    if not confusion.any():
        raise CardError("there is no picture with a label")
    return Classification(labels, tuple(tuple(row) for row in confusion.tolist()))


def segmentation(card: ModelCard, photos: Iterable[Photo], run: Run | None = None) -> Segmentation:
    """Compare masks pixel by pixel. Raises `CardError` for a class id that the card has not, or no photos at all."""
    classes = card.network.classes
    confusion, pictures = np.zeros((classes, classes), np.int64), 0
    for photo, answer in _answers(card, (photo for photo in photos if photo.mask), run):
        confusion += _confusion(photo, answer.mask, classes)
        pictures += 1
    if not pictures:
        raise CardError("there is no picture with a mask")
    return scored(confusion, [label.label for label in card.classes], pictures)


def scored(confusion: Counts, labels: Sequence[str], pictures: int) -> Segmentation:
    """The scores of pixel counts `(true, found)` over so many pictures; `labels` are the classes in their order."""
    iou = {label: score for label, score in zip(labels, _iou(confusion), strict=True) if not np.isnan(score)}
    accuracy = float(np.trace(confusion) / confusion.sum())
    return Segmentation(pictures, iou, _iou(_foreground(confusion))[1], accuracy)


def pixel_counts(true: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8], classes: int) -> Counts:
    """Pixel counts `(true, found)` of two masks of one shape, without the pixels that are `IGNORED` in the true one."""
    counted = true != IGNORED
    pairs = true[counted].astype(np.int64) * classes + found[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def starter_photos(folder: Path, split: str = "test") -> list[Photo]:
    """The photos of one split of an `index.csv`, without the masks drawn as polygons: too coarse to score on.

    Raises `CardError` where the index cannot be read.
    """
    try:
        with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
            return [_starter_photo(folder, row) for row in rows]
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise CardError(f"{folder / 'index.csv'} cannot be read: {error!r}") from error


def labelled_folders(folder: Path) -> list[Photo]:
    """The files of a folder that has a folder for each label."""
    files = (path for path in sorted(folder.glob("*/*")) if path.is_file() and not path.name.startswith("."))
    return [Photo(path, path.parent.name) for path in files]


def _starter_photo(folder: Path, row: dict[str, str]) -> Photo:
    true_mask = row["mask_kind"] == "trimap"
    return Photo(folder / row["image"], row["label"], folder / row["mask"] if true_mask else None)


def _answers(card: ModelCard, photos: Iterable[Photo], run: Run | None) -> Iterator[tuple[Photo, Answer]]:
    run = run or Pipeline.load(card)
    remaining = iter(photos)
    while batch := list(islice(remaining, card.serving.batch_size)):
        yield from zip(batch, run(*(photo.picture.read_bytes() for photo in batch)), strict=True)


def _confusion(photo: Photo, found: npt.NDArray[np.uint8], classes: int) -> Counts:
    """Pixel counts `(true, found)` of one picture."""
    if photo.mask is None:
        raise CardError(f"{photo.picture} has no mask")
    with Image.open(photo.mask) as opened:
        true = np.asarray(opened)
    if true.shape != found.shape:
        raise CardError(f"{photo.mask} is {true.shape}, and its picture {found.shape}")
    highest = true[true != IGNORED].max(initial=0)
    if highest >= classes:
        raise CardError(f"{photo.mask} has the class {highest}, and the model {classes} classes")
    return pixel_counts(true, found, classes)


def _foreground(confusion: Counts) -> Counts:
    edges = [0, 1]
    return np.add.reduceat(np.add.reduceat(confusion, edges, axis=0), edges, axis=1)


def _iou(confusion: Counts) -> Sequence[float]:
    """Intersection over union of each class, NaN for one that neither side has."""
    both = np.diag(confusion).astype(np.float64)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    scores: list[float] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0).tolist()
    return scores
