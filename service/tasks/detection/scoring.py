"""Scores of detectors: the average precision of boxes and of masks, as COCO defines it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.models.cards import CardError
from service.models.labels import distinct
from service.tasks.detection.coco.average_precision import (
    AREAS,
    RECALLS,
    AveragePrecision,
    ClassOverlaps,
    average_precision,
)
from service.tasks.detection.coco.cropped_masks import cropped
from service.tasks.detection.coco.detections import found_in
from service.tasks.detection.coco.overlaps import box_overlaps, mask_overlaps, nearest_box
from service.tasks.detection.coco.served import ask
from service.tasks.scoring_base import (
    Batch,
    BatchComparison,
    Column,
    Dataset,
    EvaluatedModel,
    LabelledImage,
    PipelineOutput,
    Scoring,
    TrueInstance,
)

CONFIDENT: Final = 0.5  # the least score of the detections that a comparison of two outputs counts
SAME_IOU: Final = 0.5  # of two boxes that are the same detection
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DetectionOutcome:
    """How the detections in an image overlap its instances of their class.

    `true`, `true_areas` and `crowd` describe the g instances, and the others the d detections: class ids, scores, and
    areas in pixels. `box_overlaps` and `mask_overlaps` have d times g values, a row for each detection, 0 for another
    class. Those of masks are empty where the model or an instance has none.
    """

    image: str
    true: tuple[int, ...]
    true_areas: tuple[float, ...]
    crowd: tuple[bool, ...]
    predicted: tuple[int, ...]
    scores: tuple[float, ...]
    box_areas: tuple[float, ...]
    box_overlaps: tuple[float, ...]
    mask_areas: tuple[float, ...] = ()
    mask_overlaps: tuple[float, ...] = ()
    masks: bool = False


@dataclass(frozen=True)
class DetectionScores:
    """The average precision of boxes, and of masks unless a model or an image has none."""

    images: int
    labels: tuple[str, ...]
    boxes: AveragePrecision
    masks: AveragePrecision | None

    @property
    def confusion(self) -> None:
        """None: a detection is not one label of an image."""
        return

    @property
    def by_label(self) -> dict[str, float]:
        """The average precision of the boxes of each label that has instances."""
        return {self.labels[class_id]: share for class_id, share in self.boxes.by_class.items()}


def usable(model: EvaluatedModel, dataset: Dataset) -> list[LabelledImage]:
    """Return the images whose instances are known. Raises `CardError` if there are none, or the model lacks a label.

    An image with a label and a mask has one instance.
    """
    images = dataset.with_truth(
        lambda image: image.instances is not None or (image.mask and image.label), "box or labelled mask", model.name
    )
    return dataset.of_labels(images, _labels, model)


def _labels(image: LabelledImage) -> set[str]:
    return {image.label} if image.instances is None else {each.label for each in image.instances}


def instances_of(image: LabelledImage) -> Sequence[TrueInstance]:
    """Return the true instances of an image. All pixels of its mask but those of class 0 are one instance.

    The ignored pixels of such a mask are the rim of the object and belong to it.
    """
    if image.instances is not None:
        return image.instances
    drawn = image.class_ids() != 0
    mask = cropped(drawn)
    if not mask.area:
        return ()
    height, width = mask.inside.shape
    return (TrueInstance(image.label, (mask.left, mask.top, width, height), mask.area, draw=lambda: drawn),)


def outcome_of(model: EvaluatedModel, image: LabelledImage, output: PipelineOutput) -> DetectionOutcome:
    """Return the outcome of an image. Raises `CardError` if its truth is that of an image of another size."""
    if image.size not in (None, (output.width, output.height)):
        raise CardError(f"its annotations are for {image.size}, and the image is {(output.width, output.height)}")
    found, true = found_in(output), instances_of(image)
    ids = np.array([model.class_ids[each.label] for each in true], np.int64)
    crowd = np.array([each.crowd for each in true], bool)
    boxes = np.array([each.box for each in true], np.float64).reshape(-1, 4)
    same = found.class_ids[:, None] == ids
    boxes[:, 2:] += boxes[:, :2]
    overlaps = np.where(same, box_overlaps(found.boxes, boxes, crowd), 0.0)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    outcome = partial(
        DetectionOutcome,
        image=str(image.path),
        true=tuple(ids.tolist()),
        true_areas=tuple(float(each.area) for each in true),
        crowd=tuple(crowd.tolist()),
        predicted=tuple(found.class_ids.tolist()),
        scores=tuple(found.scores.tolist()),
        box_areas=tuple(sides.prod(axis=1).tolist()),
        box_overlaps=tuple(overlaps.ravel().tolist()),
    )
    if found.masks is None or any(each.draw is None for each in true):
        return outcome()
    drawn = [cropped(each.draw()) for each in true if each.draw]
    shared = mask_overlaps(found.masks, drawn, crowd, same)
    areas = tuple(float(each.area) for each in found.masks)
    return outcome(mask_areas=areas, mask_overlaps=tuple(shared.ravel().tolist()), masks=True)


def scores(labels: Sequence[str], outcomes: Iterable[DetectionOutcome]) -> DetectionScores:
    """Return the scores of the outcomes."""
    outcomes = list(outcomes)
    masks = all(each.masks for each in outcomes)
    return DetectionScores(
        len(outcomes),
        distinct(labels),
        average_precision(_by_class(outcomes, "box")),
        average_precision(_by_class(outcomes, "mask")) if masks else None,
    )


def _by_class(outcomes: Sequence[DetectionOutcome], kind: str) -> dict[int, list[ClassOverlaps]]:
    """Return the overlaps of boxes ("box") or masks ("mask") of each class, image after image."""
    grouped: dict[int, list[ClassOverlaps]] = {}
    for each in outcomes:
        true, predicted = np.array(each.true, np.int64), np.array(each.predicted, np.int64)
        overlaps = np.array(getattr(each, f"{kind}_overlaps"), np.float64).reshape(len(predicted), len(true))
        areas = np.array(getattr(each, f"{kind}_areas"), np.float64)
        for class_id in {*each.true, *each.predicted}:
            own, instances = predicted == class_id, true == class_id
            of_class = ClassOverlaps(
                overlaps[own][:, instances],
                np.array(each.scores, np.float64)[own],
                areas[own],
                np.array(each.true_areas, np.float64)[instances],
                np.array(each.crowd, bool)[instances],
            )
            grouped.setdefault(class_id, []).append(of_class)
    return dict(sorted(grouped.items()))


def document(found: DetectionScores) -> dict[str, Any]:
    """Return every figure of the boxes and of the masks, as JSON values; `masks` is None without masks."""
    return {kind: each and _figures(each, found.labels) for kind, each in _kinds(found)}


def _kinds(found: DetectionScores) -> tuple[tuple[str, AveragePrecision | None], ...]:
    return ("boxes", found.boxes), ("masks", found.masks)


def _figures(found: AveragePrecision, labels: Sequence[str]) -> dict[str, Any]:
    figures = asdict(found)
    figures["by_label"] = {labels[class_id]: share for class_id, share in figures.pop("by_class").items()}
    return figures | {"recall": {str(most): share for most, share in found.recall.items()}}


def precision_recall(axes: Any, found: DetectionScores) -> None:
    """Draw the precision at each recall, the mean of the classes: boxes with solid, masks with dashed lines."""
    for (kind, each), style in zip(_kinds(found), ("-", "--"), strict=True):
        for index, (overlap, precision) in enumerate(each.curves.items() if each else ()):
            axes.plot(RECALLS, precision, style, color=f"C{index}", label=f"{kind}, IoU {overlap}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    if found.boxes.curves:
        axes.legend(loc="lower left")


def compare(first: Batch, second: Batch) -> BatchComparison:
    """Compare the confident detections: whether the other output has the same box and class, and the scores of both."""
    same: list[bool] = []
    differences: list[float] = []
    for index in range(len(first["boxes"])):
        one, other = (
            {name: each[name][index] for name in ("boxes", "scores", "class_ids")} for each in (first, second)
        )
        for mine, theirs in ((one, other), (other, one)):
            nearest, overlap = nearest_box(mine, theirs)
            confident = mine["scores"] >= CONFIDENT
            matched = confident & (overlap >= SAME_IOU)
            same += matched[confident].tolist()
            differences += np.abs(mine["scores"][matched] - theirs["scores"][nearest[matched]]).tolist()
    return BatchComparison(len(first["boxes"]), np.array(same, bool), np.array(differences, np.float64))


def _columns(part: str, kind: str) -> Iterator[Column]:
    """Yield the columns of boxes or masks, the published figure first."""

    def share(figure: Callable[[AveragePrecision], float | None], found: DetectionScores) -> float | None:
        figures: AveragePrecision | None = getattr(found, part)
        return None if figures is None else figure(figures)

    yield Column(f"{kind.upper()} AP", f"{kind}_ap", partial(share, lambda each: each.ap), f"{kind}_ap")
    yield Column("AP50", f"{kind}_ap50", partial(share, lambda each: each.ap50))
    yield Column("AP75", f"{kind}_ap75", partial(share, lambda each: each.ap75))
    for size in list(AREAS)[1:]:
        yield Column(f"AP-{size[0].upper()}", f"{kind}_ap_{size}", partial(share, partial(_of_size, size)))


def _of_size(size: str, found: AveragePrecision) -> float | None:
    return found.by_area[size]


SCORING: Final = Scoring(
    outcome=DetectionOutcome,
    usable=usable,
    outcome_of=outcome_of,
    scores=scores,
    columns=(*_columns("boxes", "box"), *_columns("masks", "mask")),
    label_figure="ap",
    label_shares=lambda found: found.by_label,
    document=document,
    ask=ask,
    compare=compare,
    same="SAME DETECTIONS",
    plots={"precision-recall": precision_recall},
)
