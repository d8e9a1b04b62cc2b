"""Scores of segmenters: intersection over union and the share of correct pixels."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.imaging import masks
from service.models.cards import CardError
from service.models.labels import distinct
from service.tasks.base import PREDICT
from service.tasks.scoring_base import (
    IGNORED,
    Batch,
    BatchComparison,
    Column,
    ConfusionRows,
    Dataset,
    EvaluatedModel,
    LabelledImage,
    Mask,
    PipelineOutput,
    RunningService,
    Scoring,
    confusion_rows,
)
from service.tasks.segmentation.segment import MULTISCALE, SEGMENT

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SegmentationOutcome:
    """The pixels of an image by true and predicted class: `pixels[i]` have the classes `true[i]` and `predicted[i]`."""

    image: str
    true: tuple[int, ...]
    predicted: tuple[int, ...]
    pixels: tuple[int, ...]


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of a segmenter over all pixels that have a class, at the sizes of the images.

    `iou` is the intersection over union of each class that is true or predicted somewhere. `foreground_iou` takes all
    classes but the first, the background, as one. `confusion[true][predicted]` counts pixels in the order of `labels`.
    """

    images: int
    labels: tuple[str, ...]
    iou: dict[str, float]
    foreground_iou: float
    pixel_accuracy: float
    confusion: ConfusionRows

    @property
    def mean_iou(self) -> float:
        """The mean over the classes."""
        return sum(self.iou.values()) / len(self.iou)


def usable(model: EvaluatedModel, dataset: Dataset) -> list[LabelledImage]:
    """Return the images that have a mask. Raises `CardError` if there are none, or the classes differ."""
    images = dataset.with_truth(lambda image: image.mask, "mask", model.name)
    if dataset.classes not in (None, len(model.labels)):
        classes = f"{dataset.root} has {dataset.classes} classes ({dataset.layout})"
        raise CardError(f"{classes}, and {model.name} {len(model.labels)}")
    if dataset.mask_problem:
        raise CardError(f"{dataset.root}: {dataset.mask_problem}")
    known = [image for image in images if max(image.present, default=0) < len(model.labels)]
    if len(known) == len(images) or (dataset.skip_unknown and known):
        return known
    unknown = sorted({each for image in images for each in image.present if each >= len(model.labels)})
    raise CardError(
        f"{len(images) - len(known)} masks in {dataset.root} have the values {', '.join(map(str, unknown[:10]))}, "
        f"and {model.name} has {len(model.labels)} classes; "
        f"name their classes with --values {unknown[0]}=1, or leave these images out with --skip-unknown"
    )


def mask_of(output: PipelineOutput) -> Mask:
    """Return the class ids at the size of the upload `(h, w)`."""
    return masks.resize(output.arrays["mask"], output.width, output.height)


def outcome_of(model: EvaluatedModel, image: LabelledImage, output: PipelineOutput) -> SegmentationOutcome:
    """Return the outcome of an image. Raises `CardError` for a mask of another size, or with another class."""
    true, predicted, classes = image.class_ids(), mask_of(output), len(model.labels)
    if true.shape != predicted.shape:
        raise CardError(f"{image.mask} is {true.shape}, and its image {predicted.shape}")
    highest = true[true != IGNORED].max(initial=0)
    if highest >= classes:
        raise CardError(f"{image.mask} has the class {highest}, and the model {classes} classes")
    counts = pixel_counts(true, predicted, classes)
    present = np.nonzero(counts)
    columns = (each.tolist() for each in (*present, counts[present]))
    return SegmentationOutcome(str(image.path), *(tuple(column) for column in columns))


def pixel_counts(true: Mask, predicted: Mask, classes: int) -> Counts:
    """Return the pixel counts `(true, predicted)` of two masks of one shape, without the pixels `IGNORED` in `true`."""
    counted = true != IGNORED
    pairs = true[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def scores(labels: Sequence[str], outcomes: Iterable[SegmentationOutcome]) -> SegmentationScores:
    """Return the scores of the outcomes."""
    counts, images = np.zeros((len(labels), len(labels)), np.int64), 0
    for each in outcomes:
        np.add.at(counts, (list(each.true), list(each.predicted)), each.pixels)
        images += 1
    return scores_of_counts(counts, labels, images)


def scores_of_counts(counts: Counts, labels: Sequence[str], images: int) -> SegmentationScores:
    """Return the scores of pixel counts `(true, predicted)`. `labels` are those of the classes in their order."""
    labels = distinct(labels)
    iou = {label: share for label, share in zip(labels, _iou(counts), strict=True) if not np.isnan(share)}
    if not counts.any():
        raise CardError("no pixel of any mask has a class, so that there is nothing to score")
    accuracy = float(np.trace(counts) / counts.sum())
    foreground = _iou(_foreground(counts))[1]
    return SegmentationScores(images, labels, iou, foreground, accuracy, confusion_rows(counts))


def _foreground(counts: Counts) -> Counts:
    edges = [0, 1]
    return np.add.reduceat(np.add.reduceat(counts, edges, axis=0), edges, axis=1)


def _iou(counts: Counts) -> Sequence[float]:
    """Return the intersection over union of each class, NaN for one that is neither true nor predicted."""
    both = np.diag(counts).astype(np.float64)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    shares: list[float] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0).tolist()
    return shares


def document(found: SegmentationScores) -> dict[str, Any]:
    """Return the intersection over union of the foreground and of each class, as JSON values."""
    return {"foreground_iou": found.foreground_iou, "iou": found.iou}


def ask(service: RunningService, query: str, upload: bytes, _classes: int) -> PipelineOutput:
    """Return the mask of a running service."""
    with Image.open(io.BytesIO(service.ask(f"{SEGMENT.path}{query}", upload, "image/png"))) as mask:
        return PipelineOutput({"mask": np.asarray(mask)}, mask.width, mask.height)


def compare(first: Batch, second: Batch) -> BatchComparison:
    """Compare the pixels of the masks, and the scores of each pixel's class.

    The mean is over pixels. One over classes would jump where a class of a single pixel appears.
    """
    one, other = (
        np.take_along_axis(each["class_scores"], each["mask"].reshape(len(each["mask"]), -1).astype(np.intp), axis=1)
        for each in (first, second)
    )
    return BatchComparison(len(one), (first["mask"] == second["mask"]).reshape(-1), np.abs(one - other).reshape(-1))


SCORING: Final = Scoring(
    outcome=SegmentationOutcome,
    usable=usable,
    outcome_of=outcome_of,
    scores=scores,
    columns=(
        Column("MIOU", "mean_iou", lambda found: found.mean_iou, "miou"),
        Column("PIXELS", "pixel_accuracy", lambda found: found.pixel_accuracy, "pixel_accuracy"),
    ),
    label_figure="iou",
    label_shares=lambda found: found.iou,
    document=document,
    ask=ask,
    compare=compare,
    same="SAME PIXELS",
    qualities={"fast": PREDICT, "best": MULTISCALE},
)
