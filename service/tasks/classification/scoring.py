"""Scores of classifiers: shares of correct labels, and calibration."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from service.models.labels import distinct
from service.tasks.classification.classify import CLASSIFY
from service.tasks.scoring_base import (
    Batch,
    BatchComparison,
    Column,
    ConfusionRows,
    Dataset,
    EvaluatedModel,
    LabelledImage,
    PipelineOutput,
    RunningService,
    Scoring,
    confusion_rows,
)

BEST: Final = 5  # labels among which the true one counts for top-5
BINS: Final = 15  # of confidence, as in Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599)


@dataclass(frozen=True)
class ClassificationOutcome:
    """The true class of an image, its best predicted classes, best first, and the probability of the first."""

    image: str
    true: int
    best: tuple[int, ...]
    confidence: float


@dataclass(frozen=True)
class LabelScore:
    """The scores of one label: recall is the correct share of its images, precision that of its predictions."""

    images: int
    recall: float
    precision: float

    @property
    def f1(self) -> float:
        """The harmonic mean of recall and precision, 0 where both are."""
        both = self.recall + self.precision
        return 2 * self.recall * self.precision / both if both else 0.0


@dataclass(frozen=True)
class Bin:
    """The predictions with a confidence in `[low, high)`: their number, mean confidence, and share of correct ones."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClassificationScores:
    """Scores of a classifier. `confusion[true][predicted]` counts images in the order of `labels`, which all differ."""

    labels: tuple[str, ...]
    confusion: ConfusionRows
    top5: float
    bins: tuple[Bin, ...]

    @property
    def images(self) -> int:
        """How many images were counted."""
        return sum(map(sum, self.confusion))

    @property
    def top1(self) -> float:
        """The share of images whose best label is the true one."""
        return sum(row[class_id] for class_id, row in enumerate(self.confusion)) / self.images

    @property
    def recall(self) -> dict[str, float]:
        """The recall of each label that has images."""
        return {label: row.recall for label, row in self.by_label.items() if row.images}

    @property
    def by_label(self) -> dict[str, LabelScore]:
        """The scores of each label that is true or predicted for at least one image."""
        rows = [sum(row) for row in self.confusion]
        columns = [sum(column) for column in zip(*self.confusion, strict=True)]
        right = [row[class_id] for class_id, row in enumerate(self.confusion)]
        return {
            label: LabelScore(row, hits / row if row else 0.0, hits / column if column else 0.0)
            for label, row, column, hits in zip(self.labels, rows, columns, right, strict=True)
            if row or column
        }

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: the mean of |confidence - accuracy| of the bins, weighted by their images."""
        return sum(each.images * abs(each.confidence - each.accuracy) for each in self.bins) / self.images


def usable(model: EvaluatedModel, dataset: Dataset) -> list[LabelledImage]:
    """Return the images that have a label. Raises `CardError` if there are none, or the model has no such label."""
    images = dataset.with_truth(lambda image: image.label, "label", model.name)
    return dataset.of_labels(images, lambda image: {image.label}, model)


def outcome_of(model: EvaluatedModel, image: LabelledImage, output: PipelineOutput) -> ClassificationOutcome:
    """Return the outcome of an image."""
    best, confidence = best_classes(output, BEST)
    return ClassificationOutcome(str(image.path), model.class_ids[image.label], tuple(best), confidence)


def best_classes(output: PipelineOutput, count: int) -> tuple[list[int], float]:
    """Return the `count` likeliest classes, equal ones by class id, and the probability of the first."""
    probabilities = output.arrays["scores"]
    best = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return best, float(probabilities[best[0]])


def scores(labels: Sequence[str], outcomes: Iterable[ClassificationOutcome]) -> ClassificationScores:
    """Return the scores of at least one outcome."""
    outcomes = list(outcomes)
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, ([each.true for each in outcomes], [each.best[0] for each in outcomes]), 1)
    top5 = sum(each.true in each.best[:BEST] for each in outcomes) / len(outcomes)
    return ClassificationScores(distinct(labels), confusion_rows(counts), top5, tuple(_bins(outcomes)))


def _bins(outcomes: Sequence[ClassificationOutcome]) -> Iterator[Bin]:
    confidence = np.array([each.confidence for each in outcomes])
    right = np.array([each.true == each.best[0] for each in outcomes])
    edges = np.linspace(0, 1, BINS + 1)
    indices = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, BINS - 1)
    for index in range(BINS):
        inside = indices == index
        images = int(inside.sum())
        means = (float(values[inside].mean()) if images else 0.0 for values in (confidence, right))
        yield Bin(float(edges[index]), float(edges[index + 1]), images, *means)


def document(found: ClassificationScores) -> dict[str, Any]:
    """Return the scores of each label and the bins of confidence, as JSON values."""
    labels = {label: {**asdict(row), "f1": row.f1} for label, row in found.by_label.items()}
    return {"labels": labels, "bins": [asdict(each) for each in found.bins]}


def reliability(axes: Any, found: ClassificationScores) -> None:
    """Draw accuracy over confidence. A perfectly calibrated model is on the diagonal."""
    filled = [each for each in found.bins if each.images]
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--")
    axes.bar([each.low for each in filled], [each.accuracy for each in filled], 1 / len(found.bins), align="edge")
    axes.plot([each.confidence for each in filled], [each.accuracy for each in filled], "o", color="black")
    title = f"expected calibration error {100 * found.calibration_error:.2f} %"
    axes.set(title=title, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))


def ask(service: RunningService, query: str, upload: bytes, classes: int) -> PipelineOutput:
    """Return the output of a running service. Only the best scores are requested; the others are set to 0."""
    response = json.loads(service.ask(f"{CLASSIFY.path}{query}&top_k={min(BEST, classes)}", upload))
    (result,) = response["results"]
    probabilities = np.zeros(classes, np.float32)
    for row in result["predictions"]:
        probabilities[row["class_id"]] = row["score"]
    return PipelineOutput({"scores": probabilities}, result["image"]["width"], result["image"]["height"])


def compare(first: Batch, second: Batch) -> BatchComparison:
    """Compare the best labels and the scores of two outputs."""
    one, other = first["scores"], second["scores"]
    return BatchComparison(len(one), one.argmax(axis=1) == other.argmax(axis=1), np.abs(one - other).reshape(-1))


SCORING: Final = Scoring(
    outcome=ClassificationOutcome,
    usable=usable,
    outcome_of=outcome_of,
    scores=scores,
    columns=(
        Column("TOP-1", "top1", lambda found: found.top1, "top1"),
        Column("TOP-5", "top5", lambda found: found.top5 if len(found.labels) > BEST else None, "top5"),
        Column("ECE", "calibration_error", lambda found: found.calibration_error),
    ),
    label_figure="recall",
    label_shares=lambda found: found.recall,
    document=document,
    ask=ask,
    compare=compare,
    same="SAME LABEL",
    calibration="service.tasks.classification.calibration",
    plots={"reliability": reliability},
)
