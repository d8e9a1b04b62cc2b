"""Scores of detectors: their truth, their outcomes, and what a running service answers."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from service.models.cards import CardError
from service.tasks.detection import scoring
from service.tasks.detection.scoring import DetectionOutcome
from service.tasks.scoring_base import Dataset, LabelledImage, PipelineOutput, TrueInstance

WIDTH, HEIGHT = 80, 60


@dataclass(frozen=True)
class Model:
    """A model of cats and dogs."""

    name: str = "pets"
    labels: tuple[str, ...] = ("cat", "dog")
    class_ids: dict[str, int] = field(default_factory=lambda: {"cat": 0, "dog": 1})


def output(*rows: tuple[int, float, tuple[float, ...]], masks: bool = True) -> PipelineOutput:
    """Return detections given as class id, score, and left, top, right, bottom in pixels, with masks that fill them."""
    boxes = np.array([row[2] for row in rows], np.float32).reshape(-1, 4)
    arrays: dict[str, Any] = {
        "boxes": boxes / np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32),
        "scores": np.array([row[1] for row in rows], np.float32),
        "class_ids": np.array([row[0] for row in rows], np.uint16),
    }
    if masks:
        arrays["masks"] = np.full((len(rows), 28, 28), 255, np.uint8)
    return PipelineOutput(arrays, WIDTH, HEIGHT)


def rectangle(box: tuple[float, ...]) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    left, top, width, height = (int(each) for each in box)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def cat(box: tuple[float, float, float, float], *, masks: bool = True, crowd: bool = False) -> TrueInstance:
    return TrueInstance("cat", box, box[2] * box[3], crowd, (lambda: rectangle(box)) if masks else None)


def image(*instances: TrueInstance) -> LabelledImage:
    return LabelledImage(Path("a.jpg"), instances=instances, size=(WIDTH, HEIGHT))


def drawn(folder: Path, rows: slice, columns: slice, *, label: str = "dog", value: int = 2) -> LabelledImage:
    """Return an image of which a rectangle has a class, with a rim of ignored pixels at its left."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[rows, columns] = value
    ids[rows, columns.start] = 255
    Image.fromarray(ids).save(folder / "mask.png")
    return LabelledImage(folder / "a.jpg", label, folder / "mask.png")


def test_the_mask_of_a_labelled_image_is_one_instance_with_its_rim(tmp_path: Path) -> None:
    (found,) = scoring.instances_of(drawn(tmp_path, slice(10, 30), slice(20, 60)))

    assert (found.label, found.box, found.area, found.crowd) == ("dog", (20, 10, 40, 20), 800, False)
    assert found.draw is not None
    assert np.array_equal(found.draw(), rectangle((20, 10, 40, 20)))


def test_a_mask_of_background_alone_has_no_instance(tmp_path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "mask.png")

    assert scoring.instances_of(LabelledImage(tmp_path / "a.jpg", "dog", tmp_path / "mask.png")) == ()


def test_exact_detections_have_the_average_precision_one_in_boxes_and_masks() -> None:
    true = image(
        cat((10, 10, 40, 30)), TrueInstance("dog", (55, 5, 20, 50), 1000, draw=lambda: rectangle((55, 5, 20, 50)))
    )
    outcome = scoring.outcome_of(Model(), true, output((0, 0.9, (10, 10, 50, 40)), (1, 0.8, (55, 5, 75, 55))))

    found = scoring.scores(("cat", "dog"), [outcome])

    assert found.images == 1
    assert found.masks is not None
    assert found.confusion is None
    assert [found.boxes.ap, found.masks.ap, *found.by_label.values()] == pytest.approx([1, 1, 1, 1])


def test_a_detection_of_another_class_overlaps_nothing() -> None:
    outcome = scoring.outcome_of(Model(), image(cat((10, 10, 40, 30))), output((1, 0.9, (10, 10, 50, 40))))

    assert [*outcome.box_overlaps, *outcome.mask_overlaps] == [0, 0]
    assert scoring.scores(("cat", "dog"), [outcome]).boxes.ap == 0


def test_the_figures_are_those_of_the_overlaps_of_boxes_and_of_masks_apart() -> None:
    true = TrueInstance("cat", (10, 10, 40, 40), 800, draw=lambda: rectangle((10, 10, 20, 40)))  # half of its box

    outcome = scoring.outcome_of(Model(), image(true), output((0, 0.9, (10, 10, 50, 50))))

    assert outcome.box_overlaps == pytest.approx((1.0,))
    assert outcome.mask_overlaps == pytest.approx((0.5,))
    assert outcome.box_areas == pytest.approx((1600,))
    assert [*outcome.true_areas, *outcome.mask_areas] == [800, 1600]


def test_without_masks_of_the_model_or_of_an_instance_only_boxes_are_scored() -> None:
    true, found = image(cat((10, 10, 40, 30))), (0, 0.9, (10, 10, 50, 40))
    without = scoring.outcome_of(Model(), true, output(found, masks=False))
    unmasked = scoring.outcome_of(Model(), image(cat((10, 10, 40, 30), masks=False)), output(found))

    for outcome in (without, unmasked):
        scores = scoring.scores(("cat", "dog"), [outcome])
        assert scores.masks is None
        assert scores.boxes.ap == pytest.approx(1)
        assert [column.share(scores) for column in scoring.SCORING.columns[6:]] == [None] * 6


def test_annotations_of_an_image_of_another_size_are_refused() -> None:
    true = LabelledImage(Path("a.jpg"), instances=(), size=(HEIGHT, WIDTH))

    with pytest.raises(CardError, match=r"its annotations are for \(60, 80\), and the image is \(80, 60\)"):
        scoring.outcome_of(Model(), true, output())


def dataset(*images: LabelledImage, skip_unknown: bool = False) -> Dataset:
    return Dataset(Path("photos"), "coco", images, skip_unknown=skip_unknown)


def test_images_whose_objects_are_not_known_are_not_scored(tmp_path: Path) -> None:
    known, empty = drawn(tmp_path, slice(1, 9), slice(1, 9)), image()
    flower = LabelledImage(tmp_path / "b.jpg", "rose")

    assert scoring.usable(Model(), dataset(known, flower, empty)) == [known, empty]
    with pytest.raises(CardError, match="photos has no image with a box or labelled mask for pets"):
        scoring.usable(Model(), dataset(flower))


def test_a_label_that_the_model_does_not_have_is_refused_or_skipped() -> None:
    horse = image(TrueInstance("horse", (1, 1, 5, 5), 25))

    with pytest.raises(CardError, match=r"photos has images of 'horse' \(1\); pets has no label.*--skip-unknown"):
        scoring.usable(Model(), dataset(horse, image(cat((1, 1, 5, 5)))))
    assert scoring.usable(Model(), dataset(horse, image(), skip_unknown=True)) == [image()]


@pytest.mark.parametrize("name", ["Cat", " cat ", "CAT"])
def test_a_label_means_the_one_that_it_can_only_mean_as_in_folders(name: str) -> None:
    (found,) = scoring.usable(Model(), dataset(image(TrueInstance(name, (1, 1, 5, 5), 25))))
    assert found.instances is not None
    assert [each.label for each in found.instances] == ["cat"]


def test_two_outputs_are_compared_by_their_confident_detections() -> None:
    def batch(*rows: tuple[int, float, tuple[float, ...]]) -> dict[str, Any]:
        return {name: [array] for name, array in output(*rows).arrays.items()}

    here, apart = (10, 10, 50, 40), (60, 40, 70, 50)
    first = batch((0, 0.9, here), (1, 0.8, apart), (0, 0.2, here))
    other = batch((0, 0.7, here), (0, 0.8, apart))

    found = scoring.compare(first, other)

    assert found.images == 1
    assert sorted(found.same.tolist()) == [False, False, True, True]
    assert found.differences == pytest.approx([0.2, 0.2])
    assert scoring.compare(first, batch()).same.tolist() == [False, False]


def test_the_table_has_the_figures_of_every_size_of_boxes_and_masks() -> None:
    outcome = scoring.outcome_of(Model(), image(cat((10, 10, 40, 40))), output((0, 0.9, (10, 10, 50, 50))))
    found = scoring.scores(("cat", "dog"), [outcome])

    shares = {column.name: column.share(found) for column in scoring.SCORING.columns}

    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    assert list(shares) == [f"{kind}_{name}" for kind in ("box", "mask") for name in names]
    assert shares["mask_ap_medium"] == pytest.approx(1)  # of 1600 pixels
    assert shares["box_ap_small"] is shares["mask_ap_large"] is None


def test_the_plot_has_a_line_of_boxes_and_of_masks_for_each_overlap() -> None:
    outcome = scoring.outcome_of(Model(), image(cat((10, 10, 40, 30))), output((0, 0.9, (10, 10, 50, 40))))
    axes = Figure().subplots()

    scoring.precision_recall(axes, scoring.scores(("cat", "dog"), [outcome]))

    assert [line.get_label() for line in axes.lines] == [
        f"{kind}, IoU {overlap}" for kind in ("boxes", "masks") for overlap in ("0.5", "0.75", "0.5 to 0.95")
    ]
    assert [line.get_linestyle() for line in axes.lines] == ["-"] * 3 + ["--"] * 3


def test_a_report_has_every_figure_by_name() -> None:
    outcome = scoring.outcome_of(Model(), image(cat((10, 10, 40, 30))), output((0, 0.9, (10, 10, 50, 40))))

    document = json.loads(json.dumps(scoring.document(scoring.scores(("cat", "dog"), [outcome]))))

    for figures in document.values():
        assert set(figures) == {"ap", "ap50", "ap75", "by_area", "by_label", "recall", "curves"}
        assert figures["by_label"] == {"cat": pytest.approx(1)}
        assert figures["by_area"] == {"small": None, "medium": pytest.approx(1), "large": None}
    assert (
        scoring.document(scoring.scores(("cat", "dog"), [DetectionOutcome("a", (), (), (), (), (), (), ())]))["masks"]
        is None
    )
